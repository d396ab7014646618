import { createCipheriv, createHash } from 'node:crypto'

/** Deterministic noise: the AES-256-CTR key stream of SHA-256(seed), with a counter of zero. */
export function noise(seed: string, length: number): Buffer {
  const key = createHash('sha256').update(seed).digest()
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length))
}
