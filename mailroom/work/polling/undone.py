"""The moves by the user that our patches have undone: a patch is made from what a poll has read,
and the user may move the mail in between. What was noted is kept until it is restored, also if a
request fails meanwhile."""

from collections.abc import Mapping

from mailroom.rules.triage.drags import recovered
from mailroom.rules.triage.places import Places
from mailroom.wire.jmap import Mail, PatchObject
from mailroom.work.mail.mail import MailClient
from mailroom.work.mail.reading import Written


class Undone:
    """Those of one account that are left to restore."""

    def __init__(self, mail: MailClient) -> None:
        self._mail = mail
        # By mail: the patch, and the mail for which it was made.
        self._left: dict[str, tuple[PatchObject, Mail]] = {}
        # Those noted since the last attempt: what they were made for was read a moment ago.
        self._fresh: set[str] = set()

    def note(
        self,
        before: Mapping[str, Mail],
        places: Places,
        patches: Mapping[str, PatchObject],
        written: Written,
    ) -> None:
        """Note what the ``patches`` have undone; they were made from the mails ``before``."""
        for mail in written.after:
            if mail.id in before and mail.id in patches:
                patch = recovered(before[mail.id], patches[mail.id], mail, places)
                if patch:
                    self._left[mail.id] = patch, mail
                    self._fresh.add(mail.id)

    async def restore(self) -> bool:
        """Restore them; returns whether there were any. The first attempt asks for nothing: a kill
        before it loses the move. After a failure they are read again, and mail that somebody has
        moved once more stays there."""
        if not self._left:
            return False
        unread = self._left.keys() - self._fresh
        self._fresh.clear()
        now = {mail.id: mail.mailbox_ids for mail in await self._mail.read(sorted(unread))}
        patches = {
            mail_id: patch
            for mail_id, (patch, after) in self._left.items()
            if mail_id not in unread or now.get(mail_id) == after.mailbox_ids
        }
        if patches:
            await self._mail.update(patches)
        self._left.clear()
        return True
