//! `MAILROOM_SUBMISSION_RATE`: smtpd(8) asks about each message of a client that may have logged in, before it takes the
//! message itself. A user's own restrictions for that moment come after. No answer is a yes (`mua_data_restrictions` in main.cf):
//! mail does not wait.

use super::master_cf::Service;
use super::settings::Settings;

const RESTRICTIONS: &str = "smtpd_data_restrictions";

/// Has the services ask that offer logins: a rule of main.cf would have those ask that have nobody to count for.
pub(super) fn apply(services: &mut [Service], settings: &Settings) {
    let of_all = settings.parameters.get(RESTRICTIONS).map(|given| given.value.as_str());
    for service in services.iter_mut().filter(|service| service.program == "smtpd") {
        let option = |name: &str| {
            let mut options = service.options.iter();
            options
                .find(|(there, _)| there == name)
                .map(|(_, value)| value.as_str())
        };
        if option("smtpd_sasl_auth_enable") == Some("no") {
            continue;
        }
        let own = option(RESTRICTIONS).or(of_all).filter(|own| !own.is_empty());
        let restrictions = match own {
            Some(own) => format!("$mua_data_restrictions, {own}"),
            None => "$mua_data_restrictions".to_owned(),
        };
        service.set_option(RESTRICTIONS, &restrictions);
    }
}
