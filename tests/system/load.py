"""Hands over messages, each with an id of its own, until a file says stop; keeps the ids of those that got their 250.

usage: load.py HOST THREADS DIRECTORY [PORT]

Once DIRECTORY/stop exists no message is begun any more, and the end comes when none is under way. Half of the messages go to `user`, whose mail
virtual(8) delivers, half to `relay`, whose mail goes by LMTP. Where PORT is not given, three of four threads use 25
without login, the fourth 587 with STARTTLS and login, and two more read by IMAP over TLS. These pause for a moment after
each message, so that deliveries keep up, and for longer when the server says that it shuts down, as it asks them to; the
clients of one PORT do neither.

After a message's final dot its id goes to DIRECTORY/acked (250), DIRECTORY/refused (another answer) or DIRECTORY/cut (no
answer: the message may be there or not). No id is sent twice.
"""

import imaplib
import os
import smtplib
import socket
import ssl
import sys
import threading
import time
import uuid

host, threads, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
only = int(sys.argv[4]) if len(sys.argv) > 4 else None
acked, refused, cut = (open(f"{directory}/{fate}", "a", buffering=1) for fate in ("acked", "refused", "cut"))
context = ssl._create_unverified_context()
FILLER = ("x" * 70 + "\r\n") * 60


def notice_death(connection):
    """The other end's kernel is asked whether it is there. A process that is slow, or stopped, does not matter."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
        connection.setsockopt(socket.IPPROTO_TCP, option, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


def connect(port):
    smtp = smtplib.SMTP(host, port, timeout=30)
    notice_death(smtp.sock)
    if port == 587:
        smtp.starttls(context=context)
        smtp.login("relay", "relaypass123")
    return smtp


class UnderWay:
    """The messages between DATA and the answer to their final dot, until no more may begin."""

    def __init__(self):
        self.changed, self.messages, self.closed = threading.Condition(), 0, False

    def __enter__(self):
        with self.changed:
            self.changed.wait_for(lambda: not self.closed)
            self.messages += 1

    def __exit__(self, *_):
        with self.changed:
            self.messages -= 1
            self.changed.notify_all()

    def close(self):
        with self.changed:
            self.closed = True
            self.changed.wait_for(lambda: self.messages == 0)


under_way = UnderWay()


def send(smtp, number):
    """One message."""
    id = uuid.uuid4().hex
    to = ["user", "relay"][number % 2]
    for code, said in [smtp.docmd("MAIL", "FROM:<load@example.org>"), smtp.docmd("RCPT", f"TO:<{to}@metabuilder.local>")]:
        if code != 250:
            raise smtplib.SMTPResponseException(code, said)
    with under_way:
        finish(smtp, id)


def finish(smtp, id):
    code, said = smtp.docmd("DATA")
    if code != 354:
        raise smtplib.SMTPResponseException(code, said)
    text = f"Subject: load\r\nX-Load-Id: {id}\r\n\r\n{FILLER}.\r\n"
    half = len(text) // 2
    try:
        smtp.send(text[:half])
        time.sleep(0.005)
        smtp.send(text[half:])
        code, said = smtp.getreply()
    except (OSError, smtplib.SMTPException):
        cut.write(f"{id}\n")
        raise
    if code == 250:
        acked.write(f"{id}\n")
    else:
        refused.write(f"{id} {code} {said}\n")
        raise smtplib.SMTPResponseException(code, said)


def write(number):
    port = only or (587 if number % 4 == 3 else 25)
    while True:
        try:
            smtp = connect(port)
            smtp.ehlo_or_helo_if_needed()
            for _ in range(5):
                send(smtp, number)
                number += 1
                if not only:
                    time.sleep(0.025)
            smtp.quit()
        except (OSError, smtplib.SMTPException) as error:
            closing = getattr(error, "smtp_code", 0) == 421
            time.sleep(0.5 if closing and not only else 0.02)


def read():
    """Logs in again and again; the login process stays in between, for the TLS."""
    while True:
        try:
            with imaplib.IMAP4_SSL(host, ssl_context=context, timeout=30) as imap:
                notice_death(imap.sock)
                imap.login("user", "userpass123")
                for _ in range(100):
                    imap.noop()
                    time.sleep(0.01)
        except (OSError, imaplib.IMAP4.error):
            time.sleep(0.02)


workers = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(threads)]
if not only:
    workers += [threading.Thread(target=read, daemon=True) for _ in range(2)]
for worker in workers:
    worker.start()
print("started", flush=True)
while not os.path.exists(f"{directory}/stop"):
    time.sleep(0.02)
under_way.close()
