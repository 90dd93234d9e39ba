//! An order saga: an order reserves goods and charges a customer, each a worker of its own, and takes the reservation
//! back if the charge fails. See README.md.

wit_bindgen::generate!({ world: "saga", path: "wit", generate_all });

use exports::shop::saga::{account, orders, stock};
use golem::rpc::types::Uri;
use shop::saga_client::saga_client::{Account, Stock};
use std::cell::RefCell;
use std::env;

struct Saga;
export!(Saga);

#[derive(Default)]
struct State {
    in_stock: u32,
    balance: u64,
    orders: Vec<String>,
}

thread_local!(static STATE: RefCell<State> = RefCell::default());

fn state<T>(f: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(f)
}

impl stock::Guest for Saga {
    fn deliver(count: u32) -> u32 {
        state(|s| {
            s.in_stock += count;
            s.in_stock
        })
    }

    fn reserve(count: u32) -> Result<u32, String> {
        state(|s| {
            s.in_stock = s.in_stock.checked_sub(count).ok_or_else(|| format!("only {} are left", s.in_stock))?;
            Ok(s.in_stock)
        })
    }

    fn release(count: u32) {
        state(|s| s.in_stock += count);
    }

    fn level() -> u32 {
        state(|s| s.in_stock)
    }
}

impl account::Guest for Saga {
    fn deposit(amount: u64) -> u64 {
        state(|s| {
            s.balance += amount;
            s.balance
        })
    }

    fn charge(amount: u64) -> Result<u64, String> {
        state(|s| {
            s.balance = s.balance.checked_sub(amount).ok_or_else(|| format!("{} is not enough", s.balance))?;
            Ok(s.balance)
        })
    }

    fn balance() -> u64 {
        state(|s| s.balance)
    }
}

/// A worker of this same component.
fn worker(name: &str) -> Uri {
    let component = env::var("GOLEM_COMPONENT_ID").unwrap();
    Uri { value: format!("urn:worker:{component}/{name}") }
}

impl orders::Guest for Saga {
    fn place(item: String, count: u32, price: u64, customer: String) -> Result<String, String> {
        let goods = Stock::new(&worker(&format!("stock-{item}")));
        goods.blocking_reserve(count)?;
        let account = Account::new(&worker(&format!("account-{customer}")));
        // Whatever dies here, and whenever: each call has its effect once, and the saga goes on from where it was.
        if let Err(reason) = account.blocking_charge(price * u64::from(count)) {
            goods.blocking_release(count);
            return Err(format!("{customer} cannot pay: {reason}"));
        }
        let order = state(|s| {
            let order = format!("order-{}", s.orders.len() + 1);
            s.orders.push(format!("{order}: {count} {item} for {customer}"));
            order
        });
        println!("{order} is placed");
        Ok(order)
    }

    fn placed() -> Vec<String> {
        state(|s| s.orders.clone())
    }
}
