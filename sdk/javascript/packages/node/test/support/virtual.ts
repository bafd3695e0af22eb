// Virtual time: timers fire when the test says so, or when nothing else can happen.
import { setImmediate } from 'node:timers/promises'

interface Timer {
  at: number
  then: () => void
}

export class VirtualTime {
  private timers: Timer[] = []

  constructor(
    public time: number,
    private readonly chance = 0.5,
  ) {}

  readonly now = (): number => this.time
  readonly random = (): number => this.chance

  readonly timer = (ms: number, then: () => void): (() => void) => {
    const timer = { at: this.time + ms, then }
    this.timers.push(timer)
    return () => {
      this.timers = this.timers.filter((other) => other !== timer)
    }
  }

  /** Moves on to the earliest timer, again and again, until `promise` is settled. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let settled = false
    const mark = () => {
      settled = true
    }
    promise.then(mark, mark)
    for (;;) {
      // A turn of the event loop lets every microtask run first.
      await setImmediate()
      if (settled) return promise
      const [next] = this.timers.sort((a, b) => a.at - b.at)
      if (next === undefined) throw new Error('nothing left to wait for, and the promise is not settled')
      this.timers = this.timers.filter((other) => other !== next)
      this.time = Math.max(this.time, next.at)
      next.then()
    }
  }
}
