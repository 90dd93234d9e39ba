//! Which addresses guests may reach. Checked on the resolved address, so that neither a name nor a
//! redirect leads around it.

use crate::host::http::HttpClient;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::Arc;

/// Addresses that share the first bits with a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl std::str::FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr =
            address.parse().map_err(|_| format!("not an address or network: {text}"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = if bits.is_empty() {
            most
        } else {
            bits.parse().map_err(|_| format!("not a network: {text}"))?
        };
        if bits > most { Err(format!("not a network: {text}")) } else { Ok(Self { address, bits }) }
    }
}

impl Network {
    /// Whether the address is in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        fn same<const N: usize>(a: [u8; N], b: [u8; N], bits: u8) -> bool {
            let whole = usize::from(bits / 8);
            let mask = !(0xffu8.checked_shr(u32::from(bits % 8)).unwrap_or(0));
            let rest = a.get(whole).zip(b.get(whole)).is_none_or(|(a, b)| a & mask == b & mask);
            a.iter().zip(&b).take(whole).all(|(a, b)| a == b) && rest
        }
        match (self.address, canonical(address)) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.octets(), b.octets(), self.bits),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.octets(), b.octets(), self.bits),
            _ => false,
        }
    }
}

/// An IPv4 address written as IPv6 is still the IPv4 address.
fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        v4 => v4,
    }
}

/// A network, for all components or for one. As text: `10.0.0.0/8`, `shop=10.0.0.0/8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    component: Option<String>,
    network: Network,
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.component {
            Some(component) => write!(f, "{component}={}", self.network),
            None => write!(f, "{}", self.network),
        }
    }
}

impl std::str::FromStr for Rule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once('=') {
            Some(("", _)) => Err(format!("no component before the = of {text}")),
            Some((component, network)) => {
                Ok(Self { component: Some(component.to_owned()), network: network.parse()? })
            }
            None => Ok(Self { component: None, network: text.parse()? }),
        }
    }
}

/// Rules of a node. Those that name a component come before those for all; among each an allowed
/// network wins over a denied one; what is in none is permitted.
#[derive(Clone, Debug, Default)]
pub struct NetworkPolicy {
    /// Networks that may be reached.
    pub allow: Vec<Rule>,
    /// Networks that may not be reached.
    pub deny: Vec<Rule>,
}

impl NetworkPolicy {
    /// Everything is reachable: one machine, one developer.
    pub fn open() -> Self {
        Self::default()
    }

    /// Loopback, link-local and private ranges are not reachable.
    pub fn public_only() -> Self {
        let networks = [
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "::/127",
            "fc00::/7",
            "fe80::/10",
        ];
        Self { allow: Vec::new(), deny: networks.iter().filter_map(|n| n.parse().ok()).collect() }
    }

    /// What the workers of a component may reach.
    pub fn of(&self, component: &str) -> Reach {
        let own = |rules: &[Rule]| {
            rules
                .iter()
                .filter(|r| r.component.as_deref() == Some(component))
                .cloned()
                .collect::<Vec<_>>()
        };
        let common = |rules: &[Rule]| {
            rules.iter().filter(|r| r.component.is_none()).cloned().collect::<Vec<_>>()
        };
        let layers = [
            (true, own(&self.allow)),
            (false, own(&self.deny)),
            (true, common(&self.allow)),
            (false, common(&self.deny)),
        ];
        Reach(
            layers
                .into_iter()
                .flat_map(|(allowed, rules)| rules.into_iter().map(move |rule| (allowed, rule)))
                .collect(),
        )
    }
}

/// What the workers of one component may reach: the first rule that an address falls under decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach(Vec<(bool, Rule)>);

/// An address that may not be reached, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the network policy refuses {address}: rule {rule}")]
pub struct Refusal {
    /// The address.
    pub address: IpAddr,
    /// The rule that it falls under.
    pub rule: Rule,
}

impl Reach {
    /// Whether an address may not be reached.
    pub fn refuses(&self, address: IpAddr) -> Option<Refusal> {
        let (allowed, rule) = self.0.iter().find(|(_, rule)| rule.network.contains(address))?;
        (!allowed).then(|| Refusal { address, rule: rule.clone() })
    }
}

/// The network as the guests of a node may reach it.
pub struct GuestNetwork {
    policy: NetworkPolicy,
    /// Connections are kept for reuse, so those who reach different addresses must not share any.
    clients: Mutex<Vec<(Arc<Reach>, HttpClient)>>,
}

impl GuestNetwork {
    /// The network under a policy.
    pub fn new(policy: NetworkPolicy) -> Self {
        Self { policy, clients: Mutex::default() }
    }

    /// For the workers of a component: what they may reach, and the client for their requests.
    pub fn of(&self, component: &str) -> (Arc<Reach>, HttpClient) {
        let reach = self.policy.of(component);
        // There are no more than components that rules name, and one.
        let mut clients = self.clients.lock();
        if let Some((reach, client)) = clients.iter().find(|(known, _)| **known == reach) {
            return (reach.clone(), client.clone());
        }
        let reach = Arc::new(reach);
        let client = HttpClient::new(reach.clone());
        clients.push((reach.clone(), client.clone()));
        (reach, client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(policy: &NetworkPolicy, component: &str, address: &str) -> Option<String> {
        policy
            .of(component)
            .refuses(address.parse().unwrap())
            .map(|refusal| refusal.rule.to_string())
    }

    #[test]
    fn private_ranges_are_refused_and_allowed_ones_win() {
        let mut policy = NetworkPolicy::public_only();
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.7.7",
            "169.254.169.254",
            "::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(refuses(&policy, "any", address).is_some(), "{address}");
        }
        for address in ["8.8.8.8", "172.32.0.1", "2001:db8::1"] {
            assert_eq!(refuses(&policy, "any", address), None, "{address}");
        }
        policy.allow.push("10.1.0.0/16".parse().unwrap());
        assert_eq!(refuses(&policy, "any", "10.1.2.3"), None);
        assert_eq!(refuses(&policy, "any", "10.2.2.3").as_deref(), Some("10.0.0.0/8"));
    }

    #[test]
    fn rules_of_a_component_come_before_those_for_all() {
        let mut policy = NetworkPolicy::public_only();
        policy.allow.push("shop=10.3.0.0/16".parse().unwrap());
        policy.deny.push("shop=::/0".parse().unwrap());
        policy.deny.push("shop=0.0.0.0/0".parse().unwrap());
        policy.allow.push("8.8.8.8".parse().unwrap());
        assert_eq!(refuses(&policy, "shop", "10.3.1.1"), None, "its own permission");
        for address in ["8.8.8.8", "127.0.0.1", "10.4.1.1"] {
            assert_eq!(
                refuses(&policy, "shop", address).as_deref(),
                Some("shop=0.0.0.0/0"),
                "{address}"
            );
        }
        assert_eq!(refuses(&policy, "shop", "2001:db8::1").as_deref(), Some("shop=::/0"));
        assert_eq!(refuses(&policy, "other", "8.8.8.8"), None);
        assert_eq!(refuses(&policy, "other", "10.3.1.1").as_deref(), Some("10.0.0.0/8"));
        for bad in ["=10.0.0.0/8", "shop=", "shop=10.0.0.0/33", "ten"] {
            assert!(bad.parse::<Rule>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_equal_reaches_share_connections() {
        let network = GuestNetwork::new(NetworkPolicy {
            deny: vec!["shop=10.0.0.0/8".parse().unwrap()],
            ..NetworkPolicy::open()
        });
        let (shop, a, b) = (network.of("shop").0, network.of("a").0, network.of("b").0);
        assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &shop));
    }
}
