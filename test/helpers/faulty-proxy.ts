import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { joined } from './forwarded-headers.ts'

/** What happens to a request. `truncate` and `reset` let so many bytes of the answer's body pass; `flip` alters one bit of the answer, `flipSent` of
 *  what is sent; `stall` never answers; `stallBody` stops in the middle of the body; `lose` does the request and hangs up instead of answering;
 *  `stale` answers with an earlier listing. */
export type Fault =
  | { kind: 'status'; status: number; name?: string; headers?: Record<string, string> }
  | { kind: 'reset' | 'truncate' | 'stallBody'; bytes: number }
  | { kind: 'flip' | 'flipSent'; at: number }
  | { kind: 'slow'; ms: number }
  | { kind: 'stall' | 'lose' | 'stale' }

export interface FaultRule {
  fault: Fault
  /** the next so many matching requests; all of them when not given */
  times?: number
  /** matching requests that pass before */
  after?: number
  /** all requests when not given */
  matches?: (method: string, path: string, headers: IncomingMessage['headers']) => boolean
}

export interface FaultyProxy {
  endpoint: string
  /** Adds a rule; the first one that matches a request counts. */
  inject(rule: FaultRule): void
  /** @returns how often rules were applied since the last call, and forgets all rules */
  clear(): number
  /** requests so far, as `METHOD path` */
  requests: string[]
  /** the highest number of requests under way at once since the last `clear` */
  busiest(): number
  bytes: { sent: number; received: number }
  stop(): Promise<void>
}

export const isListing = (method: string, path: string) => method === 'GET' && path.includes('list-type=2')
export const isUpload = (method: string) => method === 'PUT'
export const isDownload = (method: string, path: string) => method === 'GET' && !path.includes('list-type=2')

/** A bad network, or a bad server, before a real one: an HTTP proxy that does to requests what its rules say. */
export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  const { hostname, port } = new URL(target)
  const agent = new Agent({ keepAlive: true })
  const rules: FaultRule[] = []
  const listings = new Map<string, { headers: string[]; body: Buffer }>()
  const requests: string[] = []
  const bytes = { sent: 0, received: 0 }
  let applied = 0
  let open = 0
  let busiest = 0

  function faultFor(incoming: IncomingMessage): Fault | undefined {
    for (const rule of rules) {
      const { matches = () => true } = rule
      if (rule.times === 0 || !matches(incoming.method!, incoming.url!, incoming.headers)) continue
      if (rule.after) {
        rule.after--
        continue
      }
      if (rule.times !== undefined) rule.times--
      applied++
      return rule.fault
    }
    return undefined
  }

  async function answer(outgoing: ServerResponse, response: IncomingMessage, fault: Fault | undefined): Promise<void> {
    const parts: Buffer[] = []
    for await (const part of response) parts.push(part as Buffer)
    const body = Buffer.concat(parts)
    bytes.received += body.length
    if (isListing(outgoing.req.method!, outgoing.req.url!) && response.statusCode === 200) {
      const kept = listings.get(outgoing.req.url!)
      if (fault?.kind === 'stale' && kept) {
        outgoing.writeHead(200, kept.headers).end(kept.body)
        return
      }
      if (fault?.kind !== 'stale') listings.set(outgoing.req.url!, { headers: response.rawHeaders, body })
    }
    if (fault?.kind === 'lose') return void outgoing.socket?.resetAndDestroy()
    outgoing.writeHead(response.statusCode ?? 502, response.statusMessage, response.rawHeaders)
    if (fault?.kind === 'flip' && body.length > 0) body[Math.min(fault.at, body.length - 1)]! ^= 4
    if (fault?.kind !== 'reset' && fault?.kind !== 'truncate' && fault?.kind !== 'stallBody') return void outgoing.end(body)
    await new Promise<void>((resolve) => outgoing.write(body.subarray(0, fault.bytes), () => resolve()))
    if (fault.kind === 'reset') outgoing.socket?.resetAndDestroy()
    else if (fault.kind === 'truncate') outgoing.socket?.destroySoon()
  }

  function refuse(outgoing: ServerResponse, fault: Extract<Fault, { kind: 'status' }>): void {
    const name = fault.name ?? 'InternalError'
    const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${name}</Code><Message>made up</Message></Error>`
    const hasBody = outgoing.req.method !== 'HEAD'
    outgoing.writeHead(fault.status, { 'content-type': 'application/xml', 'content-length': body.length, ...fault.headers })
    outgoing.end(hasBody ? body : undefined)
  }

  const server = createServer(async (incoming, outgoing) => {
    requests.push(`${incoming.method} ${incoming.url}`)
    busiest = Math.max(busiest, ++open)
    outgoing.on('close', () => open--)
    const fault = faultFor(incoming)
    const parts: Buffer[] = []
    try {
      for await (const part of incoming) parts.push(part as Buffer)
    } catch {
      // The client is gone.
      return
    }
    const body = Buffer.concat(parts)
    bytes.sent += body.length
    if (fault?.kind === 'stall') return
    if (fault?.kind === 'slow') await sleep(fault.ms)
    if (fault?.kind === 'status') return refuse(outgoing, fault)
    if (fault?.kind === 'flipSent' && body.length > 0) body[Math.min(fault.at, body.length - 1)]! ^= 4
    const { method, url: path } = incoming
    const forward = request({ hostname, port, method, path, headers: joined(incoming.rawHeaders), agent })
    forward.on('response', (response) => answer(outgoing, response, fault).catch(() => outgoing.destroy()))
    forward.on('error', () => outgoing.destroy())
    outgoing.on('close', () => {
      if (!outgoing.writableFinished) forward.destroy()
    })
    forward.end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    inject: (rule) => void rules.push({ ...rule }),
    clear() {
      rules.length = 0
      const count = applied
      applied = 0
      busiest = 0
      return count
    },
    requests,
    busiest: () => busiest,
    bytes,
    async stop() {
      agent.destroy()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
