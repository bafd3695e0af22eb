// Message ids.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomBytes, uuid7Generator } from '../src/uuid7.js'

const NOW = Date.parse('2026-01-02T03:04:05.678Z')
const SHAPE = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

test('an id is a UUID of version 7 that begins with its millisecond', () => {
  const id = uuid7Generator()(NOW)
  assert.match(id, SHAPE)
  assert.equal(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16), NOW)
})

test('ids are distinct and in order within a millisecond, beyond 4096 of them, and when the clock goes back', () => {
  const next = uuid7Generator()
  const ids = Array.from({ length: 20_000 }, (_, i) => next(i < 15_000 ? NOW : NOW - 1000))
  assert.deepEqual(ids, [...ids].sort())
  assert.equal(new Set(ids).size, ids.length)
  for (const id of ids) assert.match(id, SHAPE)
})

test('two generators do not agree', () => {
  const [one, other] = [uuid7Generator(), uuid7Generator()]
  assert.notEqual(one(NOW).slice(19), other(NOW).slice(19))
})

test('random bytes fill the array', () => {
  const bytes = new Uint8Array(64)
  randomBytes(bytes)
  assert.ok(new Set(bytes).size > 16)
})
