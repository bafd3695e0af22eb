// Work that waits for the end of the synchronous code: in order, never much of it, and never twice.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Burst, MOST } from '../src/burst.js'

function recorded(work: (item: number, burst: Burst<number>) => void = () => {}) {
  const done: (number | string)[] = []
  const burst: Burst<number> = new Burst(
    (item) => {
      done.push(item)
      work(item, burst)
    },
    { begins: () => done.push('begins'), ends: () => done.push('ends') },
  )
  return { done, burst }
}

test('work is done when the code that left it has run, in order', async () => {
  const { done, burst } = recorded()
  for (const item of [1, 2, 3]) burst.add(item)
  assert.deepEqual([done, burst.waiting], [['begins'], 3])
  await undefined
  assert.deepEqual([done, burst.waiting], [['begins', 1, 2, 3, 'ends'], 0])
})

test('a loop that never awaits gathers no more than a bound', () => {
  const { done, burst } = recorded()
  for (let item = 0; item < MOST * 3 + 1; item++) {
    burst.add(item)
    assert.ok(burst.waiting < MOST)
  }
  assert.deepEqual(
    done.filter((item) => typeof item === 'number'),
    Array.from({ length: MOST * 3 }, (_, item) => item),
  )
})

test('work that leaves more, and that asks for the end itself, keeps the order and does nothing twice', async () => {
  const { done, burst } = recorded((item, self) => {
    if (item === 1) self.add(4)
    if (item === 2) self.end()
    if (item === 4) self.add(5)
  })
  for (const item of [1, 2, 3]) burst.add(item)
  await undefined
  assert.deepEqual(
    done.filter((item) => typeof item === 'number'),
    [1, 2, 3, 4, 5],
  )
  assert.equal(burst.waiting, 0)
})
