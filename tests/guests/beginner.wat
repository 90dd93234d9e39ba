;; A component whose initialisation deals with the host: it takes a random number, holds a stream and
;; the worker's directory, and writes a file. Each worker has a fresh instance of its own.
(component
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-u64" (func (result u64)))))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type (sub resource)))))
  (alias export $streams "output-stream" (type $stream))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $stream (type $outer))
    (export "output-stream" (type $stream (eq $outer)))
    (export "get-stdout" (func (result (own $stream))))))
  (import "wasi:filesystem/types@0.2.0" (instance $files
    (export "descriptor" (type $descriptor (sub resource)))
    (type $codes (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota"
      "exist" "file-too-large" "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io"
      "is-directory" "loop" "too-many-links" "message-size" "name-too-long" "no-device" "no-entry"
      "no-lock" "insufficient-memory" "insufficient-space" "not-directory" "not-empty"
      "not-recoverable" "unsupported" "no-tty" "no-such-device" "overflow" "not-permitted" "pipe"
      "read-only" "invalid-seek" "text-file-busy" "cross-device"))
    (export "error-code" (type $code (eq $codes)))
    (type $of-path (flags "symlink-follow"))
    (export "path-flags" (type $path-flags (eq $of-path)))
    (type $of-open (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $open-flags (eq $of-open)))
    (type $of-descriptor (flags "read" "write" "file-integrity-sync" "data-integrity-sync"
      "requested-write-sync" "mutate-directory"))
    (export "descriptor-flags" (type $flags (eq $of-descriptor)))
    (export "[method]descriptor.open-at" (func (param "self" (borrow $descriptor))
      (param "path-flags" $path-flags) (param "path" string) (param "open-flags" $open-flags)
      (param "flags" $flags) (result (result (own $descriptor) (error $code)))))
    (export "[method]descriptor.write" (func (param "self" (borrow $descriptor))
      (param "buffer" (list u8)) (param "offset" u64) (result (result u64 (error $code)))))
    (export "[method]descriptor.read" (func (param "self" (borrow $descriptor))
      (param "length" u64) (param "offset" u64)
      (result (result (tuple (list u8) bool) (error $code)))))))
  (alias export $files "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
    (alias outer 1 $descriptor (type $outer))
    (export "descriptor" (type $descriptor (eq $outer)))
    (export "get-directories" (func (result (list (tuple (own $descriptor) string)))))))

  (core module $memory
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      ;; Addresses stay multiples of 8.
      (global.set $next (i32.and (i32.const -8)
        (i32.add (global.get $next) (i32.add (local.get 3) (i32.const 7)))))))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $m))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $random (canon lower (func $random "get-random-u64")))
  (core func $stdout (canon lower (func $stdout "get-stdout")))
  (core func $drop-stream (canon resource.drop $stream))
  (core func $drop-descriptor (canon resource.drop $descriptor))
  (core func $directories
    (canon lower (func $preopens "get-directories") (memory $m) (realloc $realloc)))
  (core func $open (canon lower (func $files "[method]descriptor.open-at") (memory $m)))
  (core func $write (canon lower (func $files "[method]descriptor.write") (memory $m)))
  (core func $read
    (canon lower (func $files "[method]descriptor.read") (memory $m) (realloc $realloc)))

  (core module $main
    (import "memory" "memory" (memory 1))
    (import "host" "random" (func $random (result i64)))
    (import "host" "stdout" (func $stdout (result i32)))
    (import "host" "drop-stream" (func $drop-stream (param i32)))
    (import "host" "drop-descriptor" (func $drop-descriptor (param i32)))
    (import "host" "directories" (func $directories (param i32)))
    (import "host" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i64 i32)))
    (import "host" "read" (func $read (param i32 i64 i64 i32)))
    ;; 0: the random number; 64: results; 512: name of the file; 520: what is written to it.
    (data (i32.const 512) "begun")
    (global $stream (mut i32) (i32.const 0))
    (global $root (mut i32) (i32.const 0))

    (func $check (if (i32.load8_u (i32.const 64)) (then (unreachable))))
    (func $file (result i32)
      (call $open (global.get $root) (i32.const 0) (i32.const 512) (i32.const 5)
        (i32.const 1) (i32.const 3) (i32.const 64))
      (call $check)
      (i32.load (i32.const 68)))
    (func $put (param $byte i32) (local $file i32)
      (local.set $file (call $file))
      (i32.store8 (i32.const 520) (local.get $byte))
      (call $write (local.get $file) (i32.const 520) (i32.const 1) (i64.const 0) (i32.const 64))
      (call $check)
      (call $drop-descriptor (local.get $file)))
    (func $begin (local $first i32)
      (i64.store (i32.const 0) (call $random))
      ;; One index is free again, a higher one is held.
      (local.set $first (call $stdout))
      (global.set $stream (call $stdout))
      (call $drop-stream (local.get $first))
      (call $directories (i32.const 64))
      (global.set $root (i32.load (i32.load (i32.const 64))))
      (call $drop-descriptor (i32.load offset=12 (i32.load (i32.const 64))))
      (call $put (i32.const 1)))
    (start $begin)

    (func (export "number") (result i64) (i64.load (i32.const 0)))
    ;; Takes another stream, drops the one that is held, and gives the index of the new one.
    (func (export "turn") (result i32) (local $next i32)
      (local.set $next (call $stdout))
      (call $drop-stream (global.get $stream))
      (global.set $stream (local.get $next))
      (local.get $next))
    (func (export "put") (param i32) (call $put (local.get 0)))
    (func (export "content") (result i32) (local $file i32)
      (local.set $file (call $file))
      (call $read (local.get $file) (i64.const 1) (i64.const 0) (i32.const 64))
      (call $check)
      (call $drop-descriptor (local.get $file))
      (i32.load8_u (i32.load (i32.const 68))))
    ;; The snapshot is what was written last.
    (func (export "save") (result i32)
      (i32.store (i32.const 64) (i32.const 520))
      (i32.store (i32.const 68) (i32.const 1))
      (i32.const 64))
    (func (export "load") (param $bytes i32) (param $length i32) (result i32)
      (call $put (i32.load8_u (local.get $bytes)))
      (i32.store8 (i32.const 64) (i32.const 0))
      (i32.const 64)))
  (core instance $main (instantiate $main
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "random" (func $random))
      (export "stdout" (func $stdout))
      (export "drop-stream" (func $drop-stream))
      (export "drop-descriptor" (func $drop-descriptor))
      (export "directories" (func $directories))
      (export "open" (func $open))
      (export "write" (func $write))
      (export "read" (func $read))))))
  (func (export "number") (result u64) (canon lift (core func $main "number")))
  (func (export "turn") (result u32) (canon lift (core func $main "turn")))
  (func (export "put") (param "byte" u8) (canon lift (core func $main "put")))
  (func (export "content") (result u8) (canon lift (core func $main "content")))
  (func $save (result (list u8)) (canon lift (core func $main "save") (memory $m)))
  (func $load (param "bytes" (list u8)) (result (result (error string)))
    (canon lift (core func $main "load") (memory $m) (realloc $realloc)))
  (instance $saving (export "save" (func $save)))
  (export "golem:api/save-snapshot@0.2.0" (instance $saving))
  (instance $loading (export "load" (func $load)))
  (export "golem:api/load-snapshot@0.2.0" (instance $loading)))
