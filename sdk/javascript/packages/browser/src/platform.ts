// What the core needs of its surroundings, as one value: a page passes its window, tests a small fake with virtual time.

export interface Platform {
  window: Window & typeof globalThis
  /** Milliseconds since 1970. */
  now(): number
  /** 0 <= x < 1. */
  random(): number
  /** The id of a new message; sorts after those before it. */
  id(): string
  /** Any other id, of the same kind. */
  uuid(): string
}

/** UUIDv7, monotonic when several are made in a millisecond or the clock is set back. */
export function uuid7(now: () => number): () => string {
  let last = 0
  return () => {
    // The counter is the fraction of the millisecond: 42 + 11 bits are exact in a number.
    last = Math.max(now(), last + 1 / 2048)
    const time = Math.floor(last).toString(16).padStart(12, '0')
    const count = ((last % 1) * 4096 + 4096).toString(16).slice(1)
    let random = ''
    for (const byte of crypto.getRandomValues(new Uint8Array(8))) random += (byte + 256).toString(16).slice(1)
    return `${time.slice(0, 8)}-${time.slice(8)}-7${count}-8${random.slice(1, 4)}-${random.slice(4)}`
  }
}

/** The page that this script runs in. */
export function page(): Platform {
  const now = () => Date.now()
  const id = uuid7(now)
  return { window, now, random: () => Math.random(), id, uuid: id }
}
