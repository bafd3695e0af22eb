// The arithmetic of the web vitals, as their definitions have it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Interactions, Shifts } from '../../src/plugins/vitals.js'

function shifted(...shifts: [at: number, value: number, hadRecentInput?: boolean][]): number {
  const found = new Shifts()
  for (const [startTime, value, hadRecentInput = false] of shifts)
    found.add({ startTime, value, hadRecentInput })
  return found.worst()
}

test('shifts close together add up, a pause of a second begins anew, the worst window counts', () => {
  assert.equal(shifted([0, 0.1], [900, 0.1], [1899, 0.1]), 0.3)
  assert.equal(shifted([0, 0.1], [1000, 0.15], [3000, 0.05]), 0.15)
})

test('a window is never longer than five seconds', () => {
  const steady = Array.from({ length: 11 }, (_, n): [number, number] => [n * 900, 0.01])
  assert.equal(shifted(...steady), 0.06)
})

test('what the visitor caused is no shift', () => {
  assert.equal(shifted([0, 0.5, true], [10, 0.01]), 0.01)
})

test('no shift is a score of nothing', () => assert.equal(shifted(), 0))

function slow(durations: number[], count?: number): number | undefined {
  const found = new Interactions()
  for (const [n, duration] of durations.entries()) found.add({ interactionId: n + 1, duration })
  return found.slow(count)
}

test('the longest interaction counts, one in fifty left out', () => {
  assert.equal(slow([]), undefined)
  assert.equal(slow([48, 200.4, 64]), 200)
  assert.equal(slow(Array.from({ length: 60 }, (_, n) => n + 1)), 59)
  assert.equal(slow([48, 200, 64], 150), 48)
})

test('the events of one interaction are one, and other events are none', () => {
  const found = new Interactions()
  for (const duration of [80, 120, 40]) found.add({ interactionId: 7, duration })
  found.add({ interactionId: 0, duration: 900 })
  assert.equal(found.slow(), 120)
})
