"""Stands for your application: sends a new customer a welcome mail."""

import os
import smtplib
import sys
from email.message import EmailMessage

customer = sys.argv[1]
message = EmailMessage()
message["From"] = "shop@example.com"
message["To"] = customer
message["Subject"] = "Welcome"
message.set_content(f"Hello {customer}, here is your link: https://shop.example.com/confirm/42\n")

with smtplib.SMTP(os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"])) as smtp:
    smtp.send_message(message)
print(f"sent to {customer}")
