//! The configuration as options of the sensor.

use crate::config::Config;
use crate::kernel::{KernelError, MapSizes, Rates, SensorOptions};
use crate::profile::RuleSet;

/// What the configuration and the rules ask of the kernel side.
pub fn sensor_options(config: &Config, rules: &RuleSet) -> Result<SensorOptions, KernelError> {
    let kernel = &config.kernel;
    let bytes = |size: crate::config::Bytes| u32::try_from(size.0).unwrap_or(u32::MAX);
    Ok(SensorOptions {
        hooks: config.hooks.choice()?,
        sizes: MapSizes {
            priority_ring: bytes(kernel.priority_ring),
            lifecycle_ring: bytes(kernel.lifecycle_ring),
            cgroups: kernel.max_cgroups,
            processes: kernel.max_processes,
            ..MapSizes::default()
        },
        rates: Rates {
            priority: kernel.priority_rate.into(),
            lifecycle: kernel.lifecycle_rate.into(),
            burst_seconds: kernel.burst.0.as_secs().max(1),
        },
        canary: false,
        env_names: rules.env_names().iter().map(|name| name.to_string()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Hooks;

    #[test]
    fn hooks_per_signal_become_pins_and_sizes_are_taken_over() {
        let config = Config {
            hooks: Hooks::PerSignal([("open".to_owned(), "lsm".to_owned())].into()),
            ..Config::default()
        };
        let rules = RuleSet::from_sources(&[]).unwrap();
        let options = sensor_options(&config, &rules).unwrap();
        assert_eq!(options.hooks, "open=lsm".parse().unwrap());
        assert_eq!(options.sizes.cgroups, config.kernel.max_cgroups);
        assert!(options.rates.burst_seconds >= 1);
    }

    #[test]
    fn hook_that_does_not_exist_is_an_error() {
        let config = Config { hooks: Hooks::Text("opne=lsm".into()), ..Config::default() };
        let rules = RuleSet::from_sources(&[]).unwrap();
        assert!(sensor_options(&config, &rules).is_err());
    }
}
