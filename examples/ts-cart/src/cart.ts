// A shopping cart that keeps everything in memory. See README.md.
import type { CheckoutResult, Product } from "../types/interfaces/shop-cart-api.js";

let user = "";
let items: Product[] = [];
let orders = 0;

export const api = {
  initializeCart(userId: string): void {
    console.log(`Initializing cart for user ${userId}`);
    user = userId;
  },

  addItem(item: Product): void {
    console.log(`Adding ${item.quantity} x ${item.name} to the cart of user ${user}`);
    items.push(item);
  },

  removeItem(productId: string): void {
    console.log(`Removing product ${productId} from the cart of user ${user}`);
    items = items.filter((item) => item.productId !== productId);
  },

  updateItemQuantity(productId: string, quantity: number): void {
    console.log(`Setting the quantity of product ${productId} to ${quantity} in the cart of user ${user}`);
    for (const item of items) {
      if (item.productId === productId) item.quantity = quantity;
    }
  },

  getCartContents(): Product[] {
    return items;
  },

  checkout(): CheckoutResult {
    if (items.length === 0) {
      console.log(`Nothing to check out for user ${user}`);
      return { tag: "error", val: "The cart is empty" };
    }
    orders += 1;
    items = [];
    console.log(`Checkout of user ${user}, order ${orders}`);
    return { tag: "success", val: { orderId: `${user}-${orders}` } };
  },
};
