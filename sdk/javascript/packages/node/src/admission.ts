// Who may wait in the queue, and what happens when it is full.
import type { Entry, Queue } from './queue.js'
import type { Overflow } from './settings.js'

export interface Bounds {
  readonly maxQueueEvents: number
  readonly maxQueueBytes: number
  readonly overflow: Overflow
}

/** What a call returns whose event is in the queue, or settled. */
export const ADMITTED: PromiseLike<void> = Promise.resolve()

export class Admission {
  private blocked: { entry: Entry; admitted: () => void }[] = []
  private letGo: (() => void) | undefined

  constructor(
    private readonly queue: Queue,
    private readonly bounds: Bounds,
    private readonly dropped: (entry: Entry) => void,
    private readonly added: () => void,
    /** Keeps the process alive until what it returns is called: a script that awaits room must not end for want of work. */
    private readonly hold: () => () => void,
  ) {}

  /** Calls that wait for room. */
  get waiting(): number {
    return this.blocked.length
  }

  admit(entry: Entry): PromiseLike<void> {
    if (this.blocked.length === 0 && this.fits(entry)) {
      this.put(entry)
    } else if (entry.bytes > this.bounds.maxQueueBytes || this.bounds.overflow === 'drop_newest') {
      this.dropped(entry)
    } else if (this.bounds.overflow === 'block') {
      return this.block(entry)
    } else {
      const oldest: Entry[] = []
      while (!this.fits(entry)) oldest.push(this.queue.shift()!)
      this.put(entry)
      // Told last: a listener that calls for each would take the room as fast as it is made.
      for (const given of oldest) this.dropped(given)
    }
    return ADMITTED
  }

  /** Lets those in that wait, as far as there is room. */
  room(): void {
    while (this.blocked.length > 0 && this.fits(this.blocked[0]!.entry)) {
      const { entry, admitted } = this.blocked.shift()!
      this.put(entry)
      admitted()
    }
    if (this.blocked.length === 0) this.release()
  }

  /** Those that wait are dropped. */
  close(): void {
    const left = this.blocked
    this.blocked = []
    this.release()
    for (const { entry, admitted } of left) {
      this.dropped(entry)
      admitted()
    }
  }

  private block(entry: Entry): PromiseLike<void> {
    // Calls that are not awaited do not stop at a full queue; the line before it needs a bound as well.
    if (this.blocked.length >= this.bounds.maxQueueEvents) {
      this.dropped(entry)
      return ADMITTED
    }
    const room = new Promise<void>((admitted) => {
      this.blocked.push({ entry, admitted })
      this.added()
    })
    // Only what is awaited may hold the process: the end of a script that awaits nothing is bounded by exitTimeout.
    return {
      // biome-ignore lint/suspicious/noThenProperty: that it is asked for is what shows that somebody awaits
      then: (...listeners) => {
        if (this.blocked.length > 0) this.letGo ??= this.hold()
        return room.then(...listeners)
      },
    }
  }

  private release(): void {
    this.letGo?.()
    this.letGo = undefined
  }

  private put(entry: Entry): void {
    this.queue.push(entry)
    this.added()
  }

  private fits(entry: Entry): boolean {
    return (
      this.queue.length < this.bounds.maxQueueEvents &&
      this.queue.bytes + entry.bytes <= this.bounds.maxQueueBytes
    )
  }
}
