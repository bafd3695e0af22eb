// How many events the network carries in a request: all that are allowed, until a request shows that it is too slow.

/** Requests: after a fault that only looked like a slow network, full ones are soon back. */
const GROW_AFTER = 2
/** Where the network is slow: a request that is too large costs its whole timeout. */
const GROW_AFTER_AT_MOST = 10

/**
 * What was halved doubles again after two full requests that got through; where the double is too much at once, after four,
 * and so on up to ten.
 */
export class Pace {
  most: number
  private passed = 0
  private growAfter = GROW_AFTER
  /** The size is new: no full request has got through with it. */
  private grown = false

  constructor(private readonly allowed: number) {
    this.most = allowed
  }

  /** A request of so many events may have been too much; of one event it says nothing about more. */
  tooMuch(events: number): void {
    if (events === 1) return
    if (this.grown) this.growAfter = Math.min(2 * this.growAfter, GROW_AFTER_AT_MOST)
    this.grown = false
    this.most = Math.ceil(events / 2)
    this.passed = 0
  }

  /** A request of so many events was answered. */
  through(events: number): void {
    if (events < this.most) return
    if (this.grown) this.growAfter = GROW_AFTER
    this.grown = false
    if (++this.passed < this.growAfter || this.most === this.allowed) return
    this.most = Math.min(2 * this.most, this.allowed)
    this.grown = true
    this.passed = 0
  }
}
