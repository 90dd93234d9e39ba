// Counts how often numbers were given, in Go's heap: the platform makes it durable.
package main

import (
	"fmt"
	"runtime"
)

// What is known of one number.
type entry struct {
	number uint64
	count  uint64
}

var (
	// Strings and pointers: what the garbage collector has to follow.
	entries = map[string]*entry{}
	// The numbers in the order in which they were given.
	history []uint64
)

func name(number uint64) string { return fmt.Sprintf("number-%d", number) }

func take(number uint64) uint64 {
	found := entries[name(number)]
	if found == nil {
		found = &entry{number: number}
		entries[name(number)] = found
	}
	found.count++
	history = append(history, number)
	return found.count
}

//go:wasmexport demo:tally/api#add
func add(number uint64) uint64 {
	count := take(number)
	fmt.Println(name(number), "was given", count, "times")
	return count
}

//go:wasmexport demo:tally/api#add-range
func addRange(first, last uint64) uint64 {
	for number := first; number <= last; number++ {
		take(number)
	}
	return uint64(len(entries))
}

//go:wasmexport demo:tally/api#count
func count(number uint64) uint64 {
	if found := entries[name(number)]; found != nil {
		return found.count
	}
	return 0
}

//go:wasmexport demo:tally/api#given
func given(ago uint32) uint64 {
	if uint64(ago) >= uint64(len(history)) {
		return 0
	}
	return history[len(history)-1-int(ago)]
}

//go:wasmexport demo:tally/api#most-frequent
func mostFrequent() uint64 {
	var most entry
	for _, found := range entries {
		if found.count > most.count || found.count == most.count && found.number < most.number {
			most = *found
		}
	}
	return most.number
}

// Go visits a map in an order that it draws by lot. The lot is recorded: a replay draws the same.
//
//go:wasmexport demo:tally/api#any
func anyNumber() uint64 {
	for _, found := range entries {
		return found.number
	}
	return 0
}

//go:wasmexport demo:tally/api#collections
func collections() uint32 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.NumGC
}

// Never called: the runtime starts with the component.
func main() {}
