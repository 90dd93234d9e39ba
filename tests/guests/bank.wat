;; A composed component: a bank, and two tellers that hold accounts of it between calls. The bank keeps state and
;; resources of its own, which the tellers and, through its exported interface, callers hold.
(component
  (component $bank
    ;; What a destructor needs is made before the type that has it.
    (core module $vault
      (memory (export "memory") 1)
      (global (export "opened") (mut i32) (i32.const 0))
      (global $closed (export "closed") (mut i32) (i32.const 0))
      (func (export "close") (param i32) (global.set $closed (i32.add (global.get $closed) (i32.const 1)))))
    (core instance $vault (instantiate $vault))
    (type $account (resource (rep i32) (dtor (core func $vault "close"))))
    (core func $new (canon resource.new $account))
    (core module $desk
      (import "vault" "memory" (memory 1))
      (import "vault" "opened" (global $opened (mut i32)))
      (import "vault" "closed" (global $closed (mut i32)))
      (import "own" "new" (func $new (param i32) (result i32)))
      ;; The balance of an account is at eight times its number.
      (func (export "open") (param $amount i32) (result i32)
        (global.set $opened (i32.add (global.get $opened) (i32.const 1)))
        (i32.store (i32.shl (global.get $opened) (i32.const 3)) (local.get $amount))
        (call $new (global.get $opened)))
      (func (export "deposit") (param $account i32) (param $amount i32) (result i32)
        (i32.store (i32.shl (local.get $account) (i32.const 3))
          (i32.add (i32.load (i32.shl (local.get $account) (i32.const 3))) (local.get $amount)))
        (i32.load (i32.shl (local.get $account) (i32.const 3))))
      (func (export "closed") (result i32) (global.get $closed)))
    (core instance $desk (instantiate $desk
      (with "vault" (instance $vault))
      (with "own" (instance (export "new" (func $new))))))
    (func $open (param "amount" u32) (result (own $account)) (canon lift (core func $desk "open")))
    (func $deposit (param "self" (borrow $account)) (param "amount" u32) (result u32)
      (canon lift (core func $desk "deposit")))
    (func $closed (result u32) (canon lift (core func $desk "closed")))
    (component $interface
      (import "account" (type $inner (sub resource)))
      (import "open" (func $open (param "amount" u32) (result (own $inner))))
      (import "deposit" (func $deposit (param "self" (borrow $inner)) (param "amount" u32) (result u32)))
      (import "closed" (func $closed (result u32)))
      (export $account "account" (type $inner))
      (export "[constructor]account" (func $open) (func (param "amount" u32) (result (own $account))))
      (export "[method]account.deposit" (func $deposit)
        (func (param "self" (borrow $account)) (param "amount" u32) (result u32)))
      (export "closed" (func $closed)))
    (instance $interface (instantiate $interface
      (with "account" (type $account))
      (with "open" (func $open))
      (with "deposit" (func $deposit))
      (with "closed" (func $closed))))
    (export "test:bank/api" (instance $interface)))

  (component $teller
    (import "test:bank/api" (instance $bank
      (export "account" (type $account (sub resource)))
      (export "[constructor]account" (func (param "amount" u32) (result (own $account))))
      (export "[method]account.deposit"
        (func (param "self" (borrow $account)) (param "amount" u32) (result u32)))))
    (alias export $bank "account" (type $account))
    (core func $open (canon lower (func $bank "[constructor]account")))
    (core func $deposit (canon lower (func $bank "[method]account.deposit")))
    (core func $drop (canon resource.drop $account))
    (core module $code
      (import "bank" "open" (func $open (param i32) (result i32)))
      (import "bank" "deposit" (func $deposit (param i32 i32) (result i32)))
      (import "bank" "drop" (func $drop (param i32)))
      (memory 1)
      (global $held (mut i32) (i32.const 0))
      (global $spare (mut i32) (i32.const 0))
      ;; Opens an account and then gives the one up that was held: the handles take turns.
      (func (export "keep") (param $amount i32) (result i32)
        (global.set $spare (global.get $held))
        (global.set $held (call $open (local.get $amount)))
        (if (global.get $spare) (then (call $drop (global.get $spare))))
        (i32.store (i32.const 40000) (i32.add (i32.load (i32.const 40000)) (i32.const 1)))
        (global.get $held))
      (func (export "add") (param $amount i32) (result i32)
        (call $deposit (global.get $held) (local.get $amount)))
      (func (export "kept") (result i32) (i32.load (i32.const 40000))))
    (core instance $code (instantiate $code (with "bank" (instance
      (export "open" (func $open)) (export "deposit" (func $deposit)) (export "drop" (func $drop))))))
    (func (export "keep") (param "amount" u32) (result u32) (canon lift (core func $code "keep")))
    (func (export "add") (param "amount" u32) (result u32) (canon lift (core func $code "add")))
    (func (export "kept") (result u32) (canon lift (core func $code "kept"))))

  (instance $bank (instantiate $bank))
  (instance $first (instantiate $teller (with "test:bank/api" (instance $bank "test:bank/api"))))
  (instance $second (instantiate $teller (with "test:bank/api" (instance $bank "test:bank/api"))))
  (export "keep" (func $first "keep"))
  (export "add" (func $first "add"))
  (export "kept" (func $first "kept"))
  (export "second-keep" (func $second "keep"))
  (export "second-add" (func $second "add"))
  (export "second-kept" (func $second "kept"))
  (export "test:bank/api" (instance $bank "test:bank/api")))
