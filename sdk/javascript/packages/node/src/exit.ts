// The end of a script in Node, Deno and Bun: clients that still hold events get one chance to send them.

export interface Leaving {
  /** Sends what waits, for a bounded time, and keeps the process alive meanwhile. */
  leave(): Promise<void>
}

interface Process {
  on?(event: 'beforeExit', listener: () => void): unknown
}

/** Only those that hold events: a client that is let go of is not kept alive by this list. */
const holding = new Set<Leaving>()
let listening = false

export function holds(client: Leaving): void {
  holding.add(client)
  if (listening) return
  listening = true
  const { process } = globalThis as { process?: Process }
  process?.on?.('beforeExit', () => {
    for (const client of [...holding]) void client.leave()
  })
}

export function holdsNothing(client: Leaving): void {
  holding.delete(client)
}
