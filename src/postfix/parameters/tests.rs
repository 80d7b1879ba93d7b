use super::*;

fn parameters() -> Parameters {
    Parameters::parse(
        "myhostname = a.b\nsmtp_tls_CAfile =\nbroken\nbiff = yes\nmax_idle = 100s\nmax_use = 100\n\
         lmtp_x_limit = $max_use\nsmtpd_timeout = ${stress?{10}:{300}}s\nsmtpd_hard_error_limit = ${stress?{1}:{20}}\n\
         virtual_alias_maps = $virtual_maps\ninitial_destination_concurrency = 5\n\
         smtp_initial_destination_concurrency = $initial_destination_concurrency\nmaximal_queue_lifetime = 5d\nmilter_default_action = tempfail\n",
        "lmdb\ninline\nregexp\nproxy\nunionmap\n",
    )
}

#[test]
fn names_are_found_in_any_case() {
    assert_eq!(parameters().find("SMTP_TLS_CAFILE"), Some("smtp_tls_CAfile"));
    assert_eq!(parameters().find("broken"), None);
    assert_eq!(
        parameters().find("mua_client_restrictions"),
        Some("mua_client_restrictions")
    );
}

#[test]
fn what_ends_a_process_is_out_of_bounds() {
    let refused = |name: &str, value: &str| parameters().check(name, value).expect_err(value);
    for name in [
        "smtpd_hard_error_limit",
        "max_idle",
        "smtp_initial_destination_concurrency",
    ] {
        assert_eq!(refused(name, "0"), "must be at least 1", "{name}");
    }
    assert_eq!(refused("lmtp_x_limit", "-1"), "must be at least 1");
    assert_eq!(refused("maximal_queue_lifetime", "101"), "must be at most 8640000");
    assert_eq!(refused("smtpd_banner", ""), "must not be empty");
    for (name, value) in [
        ("maximal_queue_lifetime", "100d"),
        ("maximal_queue_lifetime", "200h"),
        ("smtpd_timeout", "1"),
    ] {
        assert!(parameters().check(name, value).is_ok(), "{name}");
    }
    assert!(parameters().check_canonical("default_process_limit", "0").is_err());
}

#[test]
fn networks_of_other_lists_lose_their_host_bits() {
    let check = |value: &str| parameters().check("smtpd_client_event_limit_exceptions", value);
    let value = "$mynetworks, 10.0.0.1/8, !2001:db8::1/32, .example.org, cidr:/n, 10.0.0.1";
    assert_eq!(
        check(value).unwrap(),
        "$mynetworks, 10.0.0.0/8, ![2001:db8::]/32, .example.org, cidr:/n, 10.0.0.1"
    );
    assert!(check("10.0.0.0/99").unwrap_err().contains("prefix length"));
}

#[test]
fn values_are_checked_by_the_shape_of_the_default() {
    let refused = |name: &str, value: &str| parameters().check(name, value).expect_err(value);
    for (name, value) in [
        ("biff", "no"),
        ("max_idle", "4h"),
        ("max_idle", "4"),
        ("lmtp_x_limit", "7"),
        ("lmtp_x_limit", "$other"),
        ("smtpd_timeout", "30s"),
        ("smtpd_hard_error_limit", "5"),
        ("smtp_tls_CAfile", ""),
        ("virtual_alias_maps", "lmdb:/x, proxy:lmdb:/y inline:{a=b c:d}"),
        ("virtual_alias_maps", "inline:{ { a = b }, { c = lmbd:/d } }"),
    ] {
        assert_eq!(parameters().check(name, value).as_deref(), Ok(value), "{name}");
    }
    assert!(refused("smtp_tls_CAfile", "${x").contains("without a }"));
    assert!(refused("biff", "maybe").contains("yes or no"));
    assert!(refused("max_idle", "4x").contains("such as 30s"));
    assert!(refused("lmtp_x_limit", "ten").contains("whole number"));
    assert!(refused("milter_default_action", "reeject").ends_with("did you mean reject?"));
    assert!(refused("virtual_alias_maps", "lmbd:/x").ends_with("did you mean lmdb:?"));
    assert!(refused("virtual_alias_maps", "proxy:unionmap:{lmdb:/x, lmbd:/y}").contains("lmbd: is not"));
    assert!(refused("smtp_tls_CAfile", "pcre:/x").contains("not a type of tables that is installed"));
}
