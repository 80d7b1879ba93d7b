# The base images are arguments, so that this one file builds with a registry and without (docker/build passes
# stand-ins), with BuildKit and with the classic builder, on any architecture.
ARG RUST_IMAGE=rust:1-slim-trixie
ARG DEBIAN_IMAGE=debian:trixie-slim

# ---- the binary ------------------------------------------------------------------------------------------------
# The dependencies alone, built against an empty crate: this layer lasts until Cargo.toml or Cargo.lock changes.
FROM ${RUST_IMAGE} AS dependencies
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir src && touch src/lib.rs && echo 'fn main() {}' > src/main.rs \
 && cargo test --release --locked --no-run \
 && cargo build --release --locked \
 && rm -r src

FROM dependencies AS build
COPY . .
RUN touch src/lib.rs src/main.rs && cargo build --release --locked

# ---- the image -------------------------------------------------------------------------------------------------
FROM ${DEBIAN_IMAGE}

# Postfix and Dovecot; what commands inside the container expect (telnet, netstat, openssl, ps); SASL mechanisms for
# relay hosts. Nothing runs in a chroot, so nothing is copied there (SYNC_CHROOT). Postfix's pristine meta files are kept outside /etc/postfix, which is a volume and may be empty. No
# certificate, no key and no configuration stays in the image: they are made at the first start.
# The accounts are made first, so that their ids, and with them the owners on volumes, are the same in every build.
RUN groupadd --gid 5000 vmail && useradd --uid 5000 --gid 5000 --home-dir /var/mail --no-create-home vmail \
 && groupadd --system --gid 901 postfix && groupadd --system --gid 902 postdrop \
 && groupadd --system --gid 903 dovecot && groupadd --system --gid 904 dovenull && groupadd --system --gid 905 policyd && groupadd --system --gid 906 httpd \
 && useradd --system --uid 901 --gid 901 --home-dir /var/spool/postfix --no-create-home postfix \
 && useradd --system --uid 903 --gid 903 --home-dir /usr/lib/dovecot --no-create-home dovecot \
 && useradd --system --uid 904 --gid 904 --home-dir /nonexistent --no-create-home dovenull \
 && useradd --system --uid 905 --gid 905 --home-dir /nonexistent --no-create-home policyd \
 && useradd --system --uid 906 --gid 906 --home-dir /nonexistent --no-create-home httpd \
 && echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections \
 && apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        bash ca-certificates libsasl2-modules net-tools openssl procps telnet tzdata \
        postfix postfix-lmdb postfix-pcre postfix-pgsql postfix-mysql postfix-sqlite postfix-ldap \
        dovecot-core dovecot-imapd dovecot-pop3d dovecot-lmtpd dovecot-sieve dovecot-managesieved \
        dovecot-pgsql dovecot-mysql dovecot-sqlite dovecot-ldap \
 && install -d /usr/share/mailroom/postfix \
 && cp -r /etc/postfix/dynamicmaps.cf /etc/postfix/postfix-files /etc/postfix/postfix-files.d \
        /usr/share/mailroom/postfix/ \
 && cp /usr/share/postfix/master.cf.dist /usr/share/mailroom/postfix/master.cf \
 && echo 'meta_directory = /usr/share/mailroom/postfix' >/usr/share/mailroom/postfix/main.cf \
 && rm -rf /etc/postfix/* /etc/dovecot /etc/ssl/private/* /etc/ssl/certs/ssl-cert-snakeoil.pem \
        /etc/aliases /etc/aliases.db /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old \
        /var/lib/dpkg/*-old /var/log/* /var/spool/postfix/* /run/dovecot \
 && echo 'SYNC_CHROOT=' > /etc/default/postfix \
 && install -d /etc/dovecot/certs /var/lib/mailroom /etc/mailroom/main.cf.d /etc/mailroom/master.cf.d /etc/mailroom/dovecot.d \
        /etc/mailroom/sieve.d \
 && ln -s /run/mailroom/dovecot/dovecot.conf /etc/dovecot/dovecot.conf \
 && ln -s /usr/local/bin/mailroom /healthcheck \
 && ln -s /usr/local/bin/mailroom /healthcheck.sh

COPY --from=build /src/target/release/mailroom /usr/local/bin/mailroom

LABEL org.opencontainers.image.title="Mailroom" \
      org.opencontainers.image.description="Environment variables in, a running mail server out: Postfix and Dovecot under one PID 1" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0"

EXPOSE 25 465 587 110 143 993 995 4190 8025
VOLUME ["/var/mail", "/etc/postfix", "/etc/dovecot/certs", "/var/spool/postfix", "/var/lib/mailroom"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=40s --retries=3 CMD ["/healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/mailroom"]
