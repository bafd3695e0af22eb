// A collector on the loopback: keeps what arrives, answers what it is told to.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

export interface Received {
  readonly body: {
    batch: { messageId: string; event?: string; [key: string]: unknown }[]
    [key: string]: unknown
  }
  readonly headers: IncomingMessage['headers']
  readonly socket: Socket
}

type Act = (response: ServerResponse, received: Received, count: number) => void

export class Collector {
  readonly requests: Received[] = []
  readonly sockets = new Set<Socket>()
  private waiters: (() => void)[] = []

  private constructor(
    private readonly server: Server,
    private act: Act,
  ) {}

  static async start(
    act: Act = (response) => response.end('{"success":true}'),
    port = 0,
  ): Promise<Collector> {
    const server = createServer((request, response) => void collector.take(request, response))
    const collector = new Collector(server, act)
    server.on('connection', (socket) => {
      collector.sockets.add(socket)
      socket.on('close', () => collector.sockets.delete(socket))
    })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return collector
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  get host(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** The ids of all events, in the order of their arrival. */
  get ids(): string[] {
    return this.requests.flatMap(({ body }) => body.batch.map(({ messageId }) => messageId))
  }

  get events(): (string | undefined)[] {
    return this.requests.flatMap(({ body }) => body.batch.map(({ event }) => event))
  }

  answer(act: Act): void {
    this.act = act
  }

  /** Resolves when `condition` holds; looked at after each request. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.waiters.push(resolve))
  }

  async stop(): Promise<void> {
    this.server.close()
    this.server.closeAllConnections()
    if (this.server.listening) await once(this.server, 'close')
  }

  private async take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const received = {
      body: JSON.parse(Buffer.concat(chunks).toString()),
      headers: request.headers,
      socket: request.socket,
    }
    this.requests.push(received)
    this.act(response, received, this.requests.length)
    for (const wake of this.waiters.splice(0)) wake()
  }
}
