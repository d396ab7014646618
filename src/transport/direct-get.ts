import * as net from 'node:net'
import * as tls from 'node:tls'
import { ShortBody } from './http-body.ts'

/** A GET of a range as the client would send it: signed, its path and query escaped. */
export interface DirectRequest {
  protocol: string
  hostname: string
  port?: number
  path: string
  headers: Record<string, string>
}

export interface DirectAnswer {
  bytes: Buffer
  headers: Map<string, string>
}

/** Reads ranges from sockets straight into their place. Node's HTTP client takes each 64 KiB into a buffer of its own, which costs four times the
 *  CPU per byte: 1.2 s a GiB against 0.3 s, about as much as hashing it twice. */
export interface DirectGetter {
  /** @param into room for all that was asked for
   *  @returns undefined for any answer but the plain part asked for (an error, a redirect, an encoding), which is then the client's to ask again
   *  @throws ShortBody when the answer breaks off; the signal's reason */
  get(request: DirectRequest, into: Buffer, signal: AbortSignal | undefined): Promise<DirectAnswer | undefined>
  close(): void
}

/** Room for the head of an answer and the bytes that come with it. */
const FIRST_BYTES = 16 << 10
const HEAD_BYTES = 64 << 10

/** What one socket is busy with. */
interface Reading {
  into: Buffer
  head: Buffer
  headers: Map<string, string> | undefined
  length: number
  done: number
  resolve(answer: DirectAnswer | undefined): void
  reject(error: unknown): void
}

interface Line {
  socket: net.Socket
  reading: Reading | undefined
}

/** @param idleTimeout ms without a byte after which a connection counts as dead */
export function createDirectGetter(idleTimeout: number): DirectGetter {
  const idle = new Map<string, Line[]>()

  function open(request: DirectRequest): Line {
    // A URL has an IPv6 address in brackets.
    const host = request.hostname.replace(/^\[(.*)\]$/, '$1')
    const line: Line = { socket: undefined as never, reading: undefined }
    const head = Buffer.allocUnsafeSlow(FIRST_BYTES)
    const onread = {
      // Asked for before each read: behind the head of an answer, the bytes go straight into their place.
      buffer: () => (line.reading?.headers ? line.reading.into.subarray(line.reading.done, line.reading.length) : head),
      callback: (length: number, buffer: Uint8Array) => {
        if (line.reading) takeBytes(line, Buffer.from(buffer.buffer, buffer.byteOffset, length))
        // Bytes that nobody asked for would be taken for the next answer.
        else line.socket.destroy()
        return true
      },
    }
    const port = request.port ?? (request.protocol === 'https:' ? 443 : 80)
    const servername = net.isIP(host) ? undefined : host
    // Node's types know `onread` of plain sockets alone; tls.connect hands it on.
    line.socket =
      request.protocol === 'https:'
        ? tls.connect({ host, port, servername, ALPNProtocols: ['http/1.1'], onread } as tls.ConnectionOptions)
        : net.connect({ host, port, onread })
    line.socket.setNoDelay(true)
    line.socket.setTimeout(idleTimeout, () => line.socket.destroy(new Error(`no byte in ${idleTimeout} ms`)))
    line.socket.on('error', (error) => broken(line, error))
    line.socket.on('end', () => line.socket.destroy())
    line.socket.on('close', () => broken(line, new Error('the connection was closed')))
    return line
  }

  function takeIdle(place: string): Line | undefined {
    const lines = idle.get(place) ?? []
    for (let line = lines.pop(); line; line = lines.pop()) if (!line.socket.destroyed) return line
    return undefined
  }

  return {
    async get(request, into, signal) {
      const place = `${request.protocol}//${request.hostname}:${request.port ?? ''}`
      // After one kept connection that gives nothing a new one is opened: the others may be as dead, and each would be waited for.
      for (let tries = 0; ; tries++) {
        signal?.throwIfAborted()
        const known = tries === 0 ? takeIdle(place) : undefined
        const line = known ?? open(request)
        const abort = () => line.socket.destroy()
        signal?.addEventListener('abort', abort, { once: true })
        try {
          const answer = await ask(line, request, into)
          if (answer && isKept(answer)) {
            line.socket.unref()
            idle.set(place, [...(idle.get(place) ?? []), line])
          } else line.socket.destroy()
          return answer
        } catch (error) {
          line.socket.destroy()
          signal?.throwIfAborted()
          // A connection that the server closed while nobody used it, or one that does not come about: the client has the words for that.
          if (!(error instanceof ShortBody)) {
            if (known) continue
            return undefined
          }
          throw error
        } finally {
          signal?.removeEventListener('abort', abort)
        }
      }
    },
    close() {
      for (const lines of idle.values()) for (const { socket } of lines) socket.destroy()
      idle.clear()
    },
  }
}

function ask(line: Line, { path, headers, hostname, port }: DirectRequest, into: Buffer): Promise<DirectAnswer | undefined> {
  line.socket.ref()
  return new Promise((resolve, reject) => {
    line.reading = { into, head: Buffer.alloc(0), headers: undefined, length: 0, done: 0, resolve, reject }
    const named = Object.entries({ host: port === undefined ? hostname : `${hostname}:${port}`, ...headers })
    line.socket.write(`GET ${path} HTTP/1.1\r\n${named.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`, 'latin1')
  })
}

function takeBytes(line: Line, bytes: Buffer): void {
  const reading = line.reading!
  if (reading.headers) reading.done += bytes.length
  else {
    const head = Buffer.concat([reading.head, bytes])
    const end = head.indexOf('\r\n\r\n')
    if (end < 0 && head.length < HEAD_BYTES) {
      reading.head = head
      return
    }
    reading.headers = end < 0 ? undefined : parseHead(head.toString('latin1', 0, end), reading.into.length)
    if (!reading.headers) {
      finish(line, undefined)
      return
    }
    reading.length = Number(reading.headers.get('content-length'))
    const first = head.subarray(end + 4)
    if (first.length > reading.length) {
      broken(line, new Error(`more than the ${reading.length} bytes announced`))
      return
    }
    reading.done = first.copy(reading.into)
  }
  if (reading.done === reading.length) finish(line, { bytes: reading.into.subarray(0, reading.length), headers: reading.headers })
}

/** @returns the headers of an answer with the bytes of a range and nothing done to them, which fit; undefined for any other */
function parseHead(text: string, room: number): Map<string, string> | undefined {
  const [status, ...lines] = text.split('\r\n')
  if (!/^HTTP\/1\.1 206( |$)/.test(status!)) return undefined
  const headers = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim())
  }
  if (headers.has('transfer-encoding') || (headers.get('content-encoding') ?? 'identity') !== 'identity') return undefined
  if (!headers.has('content-range')) return undefined
  const length = headers.get('content-length') ?? ''
  return /^\d+$/.test(length) && Number(length) <= room ? headers : undefined
}

function finish(line: Line, answer: DirectAnswer | undefined): void {
  const { resolve } = line.reading!
  line.reading = undefined
  resolve(answer)
}

function broken(line: Line, error: Error): void {
  const { reading } = line
  if (!reading) return
  line.reading = undefined
  const { headers, done, length } = reading
  reading.reject(headers ? new ShortBody(`${error.message} after ${done} of ${length} bytes`, { cause: error }) : error)
}

function isKept({ headers }: DirectAnswer): boolean {
  return !/\bclose\b/i.test(headers.get('connection') ?? '')
}
