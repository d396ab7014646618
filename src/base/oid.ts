import * as crypto from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { fileError } from './errors.ts'

/** SHA-256 of an object's bytes: 64 lower-case hex characters. */
export type Oid = string & { readonly __brand: 'Oid' }

const OID = /^[0-9a-f]{64}$/

export function isOid(text: string): text is Oid {
  return OID.test(text)
}

export function oidOfBytes(bytes: Uint8Array | string): Oid {
  return crypto.hash('sha256', bytes as Buffer, 'hex') as Oid
}

export interface OidHash {
  update(bytes: Uint8Array): void
  digest(): Oid
}

export function createOidHash(): OidHash {
  const hash = crypto.createHash('sha256')
  return {
    update: (bytes) => {
      hash.update(bytes)
    },
    digest: () => hash.digest('hex') as Oid,
  }
}

/** Reads and hashes a whole file with 1 MiB of memory. @throws FILE_UNREADABLE, PATH_MISSING */
export function oidOfFile(path: string): Oid {
  const hash = createOidHash()
  let fd: number | undefined
  try {
    fd = openSync(path, 'r')
    const buffer = Buffer.allocUnsafe(1 << 20)
    for (;;) {
      const length = readSync(fd, buffer, 0, buffer.length, null)
      if (length === 0) return hash.digest()
      hash.update(buffer.subarray(0, length))
    }
  } catch (error) {
    throw fileError(error, 'reading', path)
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
