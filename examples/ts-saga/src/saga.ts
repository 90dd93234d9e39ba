// An order saga: an order reserves goods and charges a customer, each a worker of its own, and takes the reservation
// back if the charge fails. See README.md.
import { getSelfMetadata } from "golem:api/host@0.2.0";
import { Account, Stock } from "shop:saga-client/saga-client";

let inStock = 0;
let money = 0n;
const done: string[] = [];

export const stock = {
  deliver(count: number): number {
    inStock += count;
    return inStock;
  },

  reserve(count: number): number {
    if (count > inStock) throw `only ${inStock} are left`;
    inStock -= count;
    return inStock;
  },

  release(count: number): void {
    inStock += count;
  },

  level(): number {
    return inStock;
  },
};

export const account = {
  deposit(amount: bigint): bigint {
    money += amount;
    return money;
  },

  charge(amount: bigint): bigint {
    if (amount > money) throw `${money} is not enough`;
    money -= amount;
    return money;
  },

  balance(): bigint {
    return money;
  },
};

/** The URI of a worker of this same component. */
function worker(name: string): { value: string } {
  const { highBits, lowBits } = getSelfMetadata().workerId.componentId.uuid;
  const digits = [highBits, lowBits].map((half) => half.toString(16).padStart(16, "0")).join("");
  const component = digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  return { value: `urn:worker:${component}/${name}` };
}

export const orders = {
  place(item: string, count: number, price: bigint, customer: string): string {
    const goods = new Stock(worker(`stock-${item}`));
    // An error that a result holds is thrown, with what it holds as its payload; so whatever is thrown here ends the order.
    goods.blockingReserve(count);
    try {
      // Whatever dies here, and whenever: each call has its effect once, and the saga goes on from where it was.
      new Account(worker(`account-${customer}`)).blockingCharge(price * BigInt(count));
    } catch (error) {
      goods.blockingRelease(count);
      throw `${customer} cannot pay: ${(error as { payload: string }).payload}`;
    }
    const order = `order-${done.length + 1}`;
    done.push(`${order}: ${count} ${item} for ${customer}`);
    console.log(`${order} is placed`);
    return order;
  },

  placed(): string[] {
    return done;
  },
};
