// How many events the network carries in a request: all that are allowed, until a request shows that it is too slow.

/** Requests: one that is too large again costs its whole timeout. */
const GROW_AFTER = 10

/** What was halved doubles again each time that ten full requests got through. */
export class Pace {
  most: number
  private passed = 0

  constructor(private readonly allowed: number) {
    this.most = allowed
  }

  /** A request of so many events may have been too much; of one event it says nothing about more. */
  tooMuch(events: number): void {
    if (events === 1) return
    this.most = Math.ceil(events / 2)
    this.passed = 0
  }

  /** A request of so many events was answered. */
  through(events: number): void {
    if (this.most === this.allowed || events < this.most || ++this.passed < GROW_AFTER) return
    this.most = Math.min(2 * this.most, this.allowed)
    this.passed = 0
  }
}
