// Work that is left for the end of the synchronous code that runs now, in order.

/** So many wait at most: a loop that never awaits must not gather them without bound. */
export const MOST = 256

export class Burst<T> {
  private items: T[] = []
  /** How many of them have been begun. */
  private begun = 0

  constructor(
    private readonly work: (item: T) => void,
    private readonly hears: { begins(): void; ends(): void },
  ) {}

  get waiting(): number {
    return this.items.length - this.begun
  }

  /** Whether this is asked by the work itself. */
  get working(): boolean {
    return this.begun > 0
  }

  add(item: T): void {
    if (this.items.push(item) === 1) {
      this.hears.begins()
      queueMicrotask(() => this.end())
    } else if (this.waiting >= MOST) {
      this.end()
    }
  }

  /** Does now what waits. Where the work itself leads here again, by a call in a listener, it goes on with the next. */
  end(): void {
    if (this.items.length === 0) return
    while (this.waiting > 0) this.work(this.items[this.begun++]!)
    this.items = []
    this.begun = 0
    this.hears.ends()
  }
}
