// Time and chance, from outside, so that tests need not wait.
import { LONGEST_TIMER } from './transport.js'

export interface Clock {
  now(): number
  random(): number
  /** Calls `then` after `ms`, without keeping the process alive unless `hold`; returns what takes that back. */
  timer(ms: number, then: () => void, hold: boolean): () => void
}

export const realClock = (): Clock => ({
  now: Date.now,
  random: Math.random,
  timer(ms, then, hold) {
    const timer = setTimeout(then, Math.min(ms, LONGEST_TIMER)) as unknown as number | { unref?(): void }
    if (!hold && typeof timer === 'object') timer.unref?.()
    return () => clearTimeout(timer as unknown as number)
  },
})
