"""What mail is about, for people who have to find it: asked only where no sender can name it."""

from collections.abc import Mapping, Sequence

from mailroom.errors import MailroomError
from mailroom.wire.jmap import Call, Mail, read_subjects
from mailroom.work.mail import MailClient

# Where a log line would otherwise say nothing.
NO_SUBJECT = "(no subject)"


async def subjects_of(mail: MailClient, mails: Sequence[Mail]) -> Mapping[str, str]:
    """The subjects by the mails' ids, in one request, and none where there are no mails.

    They are for the log alone: what cannot be read is left out, and more mails than one answer may
    hold are not asked for.
    """
    if not mails:
        return {}
    limit = (await mail.session()).limits.get
    ids = [each.id for each in mails[:limit]]
    call = Call("Email/get", {"ids": ids, "properties": ["id", "subject"]}, "subjects")
    try:
        answers = await mail.call([call])
        found = read_subjects(answers["subjects"])
    except MailroomError:
        return {}
    return {mail_id: subject or NO_SUBJECT for mail_id, subject in found.items()}
