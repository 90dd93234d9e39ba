//! Keeps measurements in memory, in order: the platform makes them durable.
const std = @import("std");

const allocator = std.heap.wasm_allocator;

var measurements: std.ArrayList(f64) = .empty;
const Room = [*]align(16) u8;

/// The answer that the caller is reading.
var said: []u8 = &.{};
var answer: extern struct { start: [*]const u8, length: usize } = undefined;

fn order(context: f64, item: f64) std.math.Order {
    return std.math.order(context, item);
}

export fn @"demo:median/api#add"(measurement: f64) u32 {
    // It has no place in an order.
    if (std.math.isNan(measurement)) return @intCast(measurements.items.len);
    const place = std.sort.lowerBound(f64, measurements.items, measurement, order);
    measurements.insert(allocator, place, measurement) catch @panic("out of memory");
    return @intCast(measurements.items.len);
}

export fn @"demo:median/api#median"() f64 {
    const items = measurements.items;
    if (items.len == 0) return std.math.nan(f64);
    return (items[(items.len - 1) / 2] + items[items.len / 2]) / 2;
}

/// A text is passed as its start and its length; one that is returned, by the address of both.
export fn @"demo:median/api#say"(start: Room, length: usize) *const anyopaque {
    const unit = start[0..length];
    defer allocator.free(unit);
    const median = @"demo:median/api#median"();
    said = std.fmt.allocPrint(allocator, "{d} {s}", .{ median, unit }) catch @panic("out of memory");
    std.debug.print("said {s}\n", .{said});
    answer = .{ .start = said.ptr, .length = said.len };
    return &answer;
}

/// Called when the returned text was read.
export fn @"cabi_post_demo:median/api#say"(_: *const anyopaque) void {
    allocator.free(said);
    said = &.{};
}

/// How the caller and the adapter get room. Zig has to be told the same alignment when it is freed, so all have the
/// largest that is asked for.
export fn cabi_realloc(old: Room, old_length: usize, _: usize, length: usize) Room {
    const room = if (old_length == 0)
        allocator.alignedAlloc(u8, .@"16", length)
    else
        allocator.realloc(old[0..old_length], length);
    return (room catch @panic("out of memory")).ptr;
}
