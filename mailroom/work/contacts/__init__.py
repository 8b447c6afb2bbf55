"""Contacts: one interface, by CardDAV and by JMAP."""
