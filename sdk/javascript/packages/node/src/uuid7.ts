// Message ids: UUIDs of version 7 (RFC 9562), in the order of the calls even within a millisecond.

const HEX = Array.from({ length: 256 }, (_, byte) => (byte + 256).toString(16).slice(1))

/** Fills with random bytes: Web Crypto, which Node 18 hides behind a flag; ids need no secrecy there. */
export function randomBytes(into: Uint8Array): void {
  const { crypto } = globalThis as { crypto?: Crypto }
  if (crypto?.getRandomValues) crypto.getRandomValues(into)
  else for (let i = 0; i < into.length; i++) into[i] = Math.random() * 256
}

/** A generator: 48 bits of milliseconds, 12 that count within one, 62 random ones. Never goes back when the clock does. */
export function uuid7Generator(fill: (into: Uint8Array) => void = randomBytes): (now: number) => string {
  const pool = new Uint8Array(4096)
  let at = pool.length
  let last = -1
  let count = 0
  let time = ''
  const byte = () => {
    if (at === pool.length) {
      fill(pool)
      at = 0
    }
    return pool[at++]!
  }
  const start = (ms: number) => {
    last = ms
    // Half of the range is left to count up in.
    count = ((byte() & 0x07) << 8) | byte()
    const hex = ms.toString(16).padStart(12, '0')
    time = `${hex.slice(0, 8)}-${hex.slice(8)}-7`
  }
  return (now) => {
    if (now > last) start(now)
    else if (++count > 0xfff) start(last + 1)
    const variant = HEX[(byte() & 0x3f) | 0x80]! + HEX[byte()]!
    const tail = HEX[byte()]! + HEX[byte()]! + HEX[byte()]! + HEX[byte()]! + HEX[byte()]! + HEX[byte()]!
    return `${time}${(count + 0x1000).toString(16).slice(1)}-${variant}-${tail}`
  }
}
