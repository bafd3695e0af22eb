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

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')

/** UUIDv7 that stays monotonic when several are made in a millisecond or the clock is set back. */
export function uuid7(now: () => number): () => string {
  let at = 0
  let sequence = 0
  return () => {
    const [a, b, c] = crypto.getRandomValues(new Uint32Array(3)) as unknown as [number, number, number]
    if (now() > at) {
      at = now()
      sequence = c & 0x3ff
    } else if (++sequence > 0xfff) {
      at++
      sequence = 0
    }
    const time = hex(at, 12)
    return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(sequence, 3)}-${hex((a >>> 18) | 0x8000, 4)}-${hex(b, 8)}${hex(c >>> 16, 4)}`
  }
}

/** The page that this script runs in. */
export function page(): Platform {
  const now = () => Date.now()
  const id = uuid7(now)
  return { window, now, random: () => Math.random(), id, uuid: id }
}
