"""Hands over messages, each with an id of its own, until it is told to stop; keeps the ids of those that got their 250.

usage: load.py HOST THREADS DIRECTORY [PORT]

Every thread appends to DIRECTORY/acked and ends when DIRECTORY/stop exists. Half of the messages go to `user`, whose mail
virtual(8) delivers, half to `relay`, whose mail goes by LMTP. Where PORT is not given, three of four threads use 25
without login, the fourth 587 with STARTTLS and login.
"""

import os
import smtplib
import ssl
import sys
import threading
import time
import uuid

host, threads, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
only = int(sys.argv[4]) if len(sys.argv) > 4 else None
acked = open(f"{directory}/acked", "a", buffering=1)
cut = open(f"{directory}/cut", "a", buffering=1)
context = ssl._create_unverified_context()
FILLER = ("x" * 70 + "\r\n") * 60


def connect(port):
    smtp = smtplib.SMTP(host, port, timeout=30)
    if port == 587:
        smtp.starttls(context=context)
        smtp.login("relay", "relaypass123")
    return smtp


def send(smtp, number):
    """One message. A connection that is lost after the final dot was sent, before an answer, leaves its fate open: the
    client would send it again."""
    id = uuid.uuid4().hex
    to = ["user", "relay"][number % 2]
    for code, said in [smtp.docmd("MAIL", "FROM:<load@example.org>"), smtp.docmd("RCPT", f"TO:<{to}@metabuilder.local>")]:
        if code != 250:
            raise smtplib.SMTPResponseException(code, said)
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
        raise smtplib.SMTPResponseException(code, said)


def work(number):
    port = only or (587 if number % 4 == 3 else 25)
    while not os.path.exists(f"{directory}/stop"):
        try:
            smtp = connect(port)
            smtp.ehlo_or_helo_if_needed()
            for _ in range(5):
                send(smtp, number)
                number += 1
            smtp.quit()
        except (OSError, smtplib.SMTPException):
            time.sleep(0.02)


workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
for worker in workers:
    worker.start()
print("started", flush=True)
for worker in workers:
    worker.join()
