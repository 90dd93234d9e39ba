//! A shopping cart that keeps everything in memory. See README.md.

wit_bindgen::generate!({ world: "cart", path: "wit" });

use exports::shop::cart::api::{CheckoutResult, Guest, Order, Product};
use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const STEPS: &str = "/steps.txt";

struct Cart;
export!(Cart);

struct State {
    user: String,
    items: Vec<Product>,
    orders: u32,
}

thread_local!(static STATE: RefCell<State> =
    const { RefCell::new(State { user: String::new(), items: Vec::new(), orders: 0 }) });

fn state<T>(f: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(f)
}

impl Guest for Cart {
    fn initialize_cart(user_id: String) {
        println!("Initializing cart for user {user_id}");
        state(|s| s.user = user_id);
    }

    fn add_item(item: Product) {
        state(|s| {
            println!("Adding {} x {} to the cart of user {}", item.quantity, item.name, s.user);
            s.items.push(item);
        });
    }

    fn remove_item(product_id: String) {
        state(|s| {
            println!("Removing product {product_id} from the cart of user {}", s.user);
            s.items.retain(|item| item.product_id != product_id);
        });
    }

    fn update_item_quantity(product_id: String, quantity: u32) {
        state(|s| {
            println!(
                "Setting the quantity of product {product_id} to {quantity} in the cart of user {}",
                s.user
            );
            for item in s.items.iter_mut().filter(|item| item.product_id == product_id) {
                item.quantity = quantity;
            }
        });
    }

    fn get_cart_contents() -> Vec<Product> {
        state(|s| s.items.clone())
    }

    fn checkout() -> CheckoutResult {
        state(|s| {
            if s.items.is_empty() {
                println!("Nothing to check out for user {}", s.user);
                return CheckoutResult::Error("The cart is empty".to_owned());
            }
            s.orders += 1;
            s.items.clear();
            println!("Checkout of user {}, order {}", s.user, s.orders);
            CheckoutResult::Success(Order { order_id: format!("{}-{}", s.user, s.orders) })
        })
    }

    fn checkout_slowly(steps: u32) -> u32 {
        let before = Self::get_steps().len();
        for i in 1..=steps {
            let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
            let line = format!("{i} {ms} {:016x}", random());
            println!("Step {i} of {steps}: {line}");
            let mut file = OpenOptions::new().append(true).create(true).open(STEPS).unwrap();
            writeln!(file, "{line}").unwrap();
            sleep(Duration::from_millis(200));
        }
        (Self::get_steps().len() - before) as u32
    }

    fn get_steps() -> Vec<String> {
        fs::read_to_string(STEPS).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

// The standard library has no stable function for random numbers.
unsafe extern "C" {
    fn getentropy(buffer: *mut u8, length: usize) -> i32;
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    assert_eq!(unsafe { getentropy(bytes.as_mut_ptr(), bytes.len()) }, 0);
    u64::from_ne_bytes(bytes)
}
