import { connect, createServer, type Socket } from 'node:net'

export interface FaultyLine {
  /** the url of the server, by way of this line */
  url: string
  /** ends the next `times` connections once that many bytes of answers have passed; 0 ends them before any. `reset` sends RST instead of FIN. */
  breakAfter(bytes: number, times: number, reset?: boolean): void
  /** how often it broke */
  broken(): number
  stop(): Promise<void>
}

/** A bad network in front of a real server: a TCP line that can be cut at a given byte. */
export async function openFaultyLine(serverUrl: string): Promise<FaultyLine> {
  const { hostname, port } = new URL(serverUrl)
  const open = new Set<Socket>()
  let plan = { bytes: Number.POSITIVE_INFINITY, times: 0, reset: false }
  let breaks = 0
  const server = createServer((near) => {
    const far = connect(Number(port), hostname)
    let passed = 0
    for (const socket of [near, far]) {
      open.add(socket)
      socket.on('close', () => open.delete(socket))
      socket.on('error', () => {})
    }
    near.pipe(far)
    far.on('data', (part) => {
      passed += part.length
      if (plan.times === 0 || passed < plan.bytes) {
        near.write(part)
        return
      }
      plan.times--
      breaks++
      if (plan.reset) near.resetAndDestroy()
      else near.end(part.subarray(0, part.length - (passed - plan.bytes)))
      far.destroy()
    })
    far.on('end', () => near.end())
    far.on('close', (hadError) => hadError && near.resetAndDestroy())
    near.on('close', () => far.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    breakAfter: (bytes, times, reset = false) => {
      // Connections kept alive would start in the middle of the count.
      for (const socket of open) socket.destroy()
      plan = { bytes, times, reset }
      breaks = 0
    },
    broken: () => breaks,
    stop: async () => {
      for (const socket of open) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
