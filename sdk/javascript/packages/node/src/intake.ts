// From a message to what waits in the queue. The JSON is what a call costs most, so where nothing that the call returns
// depends on it, it is written when the code that runs now ends: the call takes a copy, which later changes do not reach.
import { ADMITTED } from './admission.js'
import { Burst } from './burst.js'
import type { Admitted } from './calls.js'
import { byteLength, type Encoded, encode, plainCopy } from './encode.js'
import { Refused } from './message.js'
import type { Failure } from './outcomes.js'
import type { Entry } from './queue.js'
import type { Callback, Message, Warning } from './types.js'

/** The largest event that is sent, in bytes. */
export const EVENT_BYTES = 32_768

/** Who hears what becomes of a message. Nothing here may throw. */
export interface Outcome {
  /** `waited`: it was called some time ago, by whom does not matter now. */
  entry(entry: Entry, waited: boolean): Admitted
  warning(warning: Warning): void
  refused(failed: Failure, error: unknown): void
  /** The first message waits. */
  begins(): void
  /** None waits any more. */
  ends(): void
}

interface Called extends Failure {
  readonly copy: object
}

export class Intake {
  private readonly burst: Burst<Called>

  constructor(
    private readonly defers: boolean,
    private readonly outcome: Outcome,
  ) {
    this.burst = new Burst((called) => this.write(called), outcome)
  }

  get waiting(): number {
    return this.burst.waiting
  }

  /** Throws Refused and TooManyValues, where it is encoded at once. */
  put(message: Message, callback: Callback | undefined): Admitted {
    const { messageId, type } = message
    const copy = plainCopy(message)
    // A listener that calls from within the work ends as its own recursion does; waiting, it would go on for ever.
    if (copy !== undefined && this.defers && !this.burst.working) {
      this.burst.add({ messageId, type, callback, copy })
      return ADMITTED
    }
    this.end()
    return this.admit({ messageId, type, callback }, encode(message, copy), false)
  }

  /** Whether what waited is being encoded now. */
  get working(): boolean {
    return this.burst.working
  }

  /** Encodes what waits. */
  end(): void {
    this.burst.end()
  }

  private write(called: Called): void {
    try {
      this.admit(called, encode(called.copy, called.copy), true)
    } catch (error) {
      this.outcome.refused(called, error)
    }
  }

  private admit(
    { messageId, type, callback }: Failure,
    { json, problems }: Encoded,
    waited: boolean,
  ): Admitted {
    const bytes = byteLength(json)
    if (bytes > EVENT_BYTES)
      throw new Refused('event_too_large', `the event has ${bytes} bytes, at most ${EVENT_BYTES} are sent`)
    for (const problem of problems) this.outcome.warning({ messageId, type, ...problem })
    return this.outcome.entry({ json, bytes, messageId, type, callback }, waited)
  }
}
