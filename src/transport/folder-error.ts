import { fileError, inTheWay, MlvError, systemCode } from '../base/errors.ts'

/** Turns a failed operation on a folder of blobs into words; what is no system error comes back as it is. */
export function folderError(error: unknown, doing: 'reading' | 'writing' | 'deleting', path: string): unknown {
  const known = fileError(error, doing, path)
  const code = systemCode(error)
  if (known !== error || code === undefined || error instanceof MlvError) return known
  switch (code) {
    case 'EEXIST':
      return inTheWay(error, doing, path)
    case 'EMFILE':
    case 'ENFILE':
      return new MlvError('FILE_UNREADABLE', `Too many open files: ${doing} ${path}`, {
        hint: 'Raise the limit with "ulimit -n 4096", then run the command again.',
        cause: error,
      })
    case 'ESTALE':
    case 'ETIMEDOUT':
    case 'EHOSTDOWN':
    case 'EHOSTUNREACH':
    case 'ENOTCONN':
      return new MlvError('REMOTE_UNREACHABLE', `The network share does not answer (${code}): ${doing} ${path}`, {
        hint: 'Check that it is mounted, then run the command again.',
        cause: error,
      })
    default:
      return code.startsWith('ERR_')
        ? error
        : new MlvError('REMOTE_FAILED', `${code} from the file system: ${doing} ${path}`, {
            hint: 'Check the disk or share, then run the command again.',
            cause: error,
          })
  }
}
