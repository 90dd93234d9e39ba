//! Which addresses guests may reach. Checked on the resolved address, so that neither a name nor a
//! redirect leads around it.

use std::net::IpAddr;

/// A rule of the policy: addresses that share the first bits with a network.
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

/// Allowed and denied networks: an allowed one wins over a denied one; what is in neither is
/// permitted.
#[derive(Clone, Debug, Default)]
pub struct NetworkPolicy {
    /// Reachable in any case.
    pub allow: Vec<Network>,
    /// Not reachable.
    pub deny: Vec<Network>,
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

    /// The rule that refuses an address, if one does.
    pub fn refuses(&self, address: IpAddr) -> Option<Network> {
        if self.allow.iter().any(|n| n.contains(address)) {
            return None;
        }
        self.deny.iter().find(|n| n.contains(address)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert!(policy.refuses(address.parse().unwrap()).is_some(), "{address}");
        }
        for address in ["8.8.8.8", "172.32.0.1", "2001:db8::1"] {
            assert_eq!(policy.refuses(address.parse().unwrap()), None, "{address}");
        }
        policy.allow.push("10.1.0.0/16".parse().unwrap());
        assert_eq!(policy.refuses("10.1.2.3".parse().unwrap()), None);
        assert!(policy.refuses("10.2.2.3".parse().unwrap()).is_some());
    }
}
