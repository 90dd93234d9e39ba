//! A shopping cart in memory.
wit_bindgen::generate!({ inline: r#"
package test:cart;

interface api {
    record product { product-id: string, name: string, price: f32, quantity: u32 }
    record order { order-id: string }
    variant checkout-result { error(string), success(order) }

    initialize-cart: func(user-id: string);
    add-item: func(item: product);
    remove-item: func(product-id: string);
    update-item-quantity: func(product-id: string, quantity: u32);
    checkout: func() -> checkout-result;
    get-cart-contents: func() -> list<product>;
}

world guest {
    export api;
}
"# });

use exports::test::cart::api::{CheckoutResult, Guest, Order, Product};
use std::cell::RefCell;

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
            println!("Adding item {} to the cart of user {}", item.product_id, s.user);
            s.items.push(item);
        });
    }

    fn remove_item(product_id: String) {
        state(|s| {
            println!("Removing item {product_id} from the cart of user {}", s.user);
            s.items.retain(|item| item.product_id != product_id);
        });
    }

    fn update_item_quantity(product_id: String, quantity: u32) {
        state(|s| {
            println!(
                "Updating quantity of item {product_id} to {quantity} in the cart of user {}",
                s.user
            );
            for item in s.items.iter_mut().filter(|item| item.product_id == product_id) {
                item.quantity = quantity;
            }
        });
    }

    fn checkout() -> CheckoutResult {
        state(|s| {
            if s.items.is_empty() {
                println!("Nothing to check out for user {}", s.user);
                return CheckoutResult::Error("The cart is empty".to_owned());
            }
            s.orders += 1;
            s.items.clear();
            println!("Checkout for user {}", s.user);
            CheckoutResult::Success(Order { order_id: format!("{}-{}", s.user, s.orders) })
        })
    }

    fn get_cart_contents() -> Vec<Product> {
        state(|s| {
            println!("Getting cart contents for user {}", s.user);
            s.items.clone()
        })
    }
}
