"""Subjects of mail that people have to find, read only if no sender identifies the mail."""

from collections.abc import Mapping, Sequence

from mailroom.errors import MailroomError
from mailroom.wire.jmap import Call, Mail, read_subjects
from mailroom.work.mail.mail import MailClient

# Stands in log lines for an empty subject.
NO_SUBJECT = "(no subject)"


async def subjects_of(mail: MailClient, mails: Sequence[Mail]) -> Mapping[str, str]:
    """The subjects by mail id, in one request; without mails there is no request.

    They are for the log only: those that cannot be read are left out, as are mails beyond the limit
    of one request.
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
