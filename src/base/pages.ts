/** Bytes of a page of memory, and of a block of a disk at most. */
export const PAGE_BYTES = 4096

// TypeScript's ES2023 does not know of buffers that can grow; Node 20 does.
type Growable<T> = new (length: number, options: { maxByteLength: number }) => T

/** Memory that threads share. It begins at a page, since what could grow is taken from the system in pages: so it can be written past the page cache. */
export function sharedBuffer(length: number): Buffer {
  const memory = new (SharedArrayBuffer as unknown as Growable<SharedArrayBuffer>)(length, { maxByteLength: length })
  // With its length, or it would be looked up on each access.
  return Buffer.from(memory, 0, length)
}

/** Where in a page bytes begin; undefined where nobody knows. */
export function offsetInPage(bytes: Uint8Array): number | undefined {
  const { buffer } = bytes as { buffer: ArrayBufferLike & { growable?: boolean } }
  return buffer.growable ? bytes.byteOffset % PAGE_BYTES : undefined
}
