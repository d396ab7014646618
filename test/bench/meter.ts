import { Agent, createServer, type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { joined } from '../helpers/forwarded-headers.ts'

/** A proxy in front of an HTTP server that counts what passes. It changes nothing that is signed. */
export interface Meter {
  endpoint: string
  /** forgets what has been counted so far */
  reset(): void
  read(): { requests: string[]; bytesSent: number; bytesReceived: number }
  stop(): Promise<void>
}

/** Counts only; its own cost is why nothing is timed through it. */
export async function startMeter(target: string): Promise<Meter> {
  const { hostname, port } = new URL(target)
  const agent = new Agent({ keepAlive: true })
  let requests: string[] = []
  let bytesSent = 0
  let bytesReceived = 0
  const server = createServer((incoming, outgoing) => {
    requests.push(`${incoming.method} ${incoming.url}`)
    incoming.on('data', (bytes: Buffer) => {
      bytesSent += bytes.length
    })
    const { method, url: path, rawHeaders } = incoming
    const forward = request({ hostname, port, method, path, headers: joined(rawHeaders), agent })
    forward.on('response', (answer: IncomingMessage) => {
      answer.on('data', (bytes: Buffer) => {
        bytesReceived += bytes.length
      })
      outgoing.writeHead(answer.statusCode ?? 502, answer.statusMessage, answer.rawHeaders)
      answer.pipe(outgoing)
    })
    forward.on('error', () => outgoing.destroy())
    outgoing.on('close', () => {
      if (!outgoing.writableFinished) forward.destroy()
    })
    incoming.pipe(forward)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    reset() {
      requests = []
      bytesSent = 0
      bytesReceived = 0
    },
    read: () => ({ requests, bytesSent, bytesReceived }),
    async stop() {
      agent.destroy()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
