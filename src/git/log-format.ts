import type { CommitChanges } from './git.ts'

/** Arguments of a `git log` whose output createLogParser reads, whatever the user's configuration says. */
export const LOG_ARGUMENTS = [
  '-c',
  'log.follow=false',
  '-c',
  'log.showSignature=false',
  'log',
  '-z',
  '--no-color',
  '--no-abbrev',
  '--encoding=UTF-8',
  '--date-order',
  '--format=%x01%H%x00%P%x00%an%x00%ae%x00%at%x00%cn%x00%ce%x00%ct%x00%s',
]

/** Merges are compared with their first parent, the first commit with nothing. */
export const CHANGE_ARGUMENTS = [
  '--raw',
  '--root',
  '--diff-merges=first-parent',
  '--no-renames',
  '--no-relative',
  '--no-ext-diff',
  '--ignore-submodules=none',
]

const FIELDS = 8

/** Reads the log piece by piece and hands on each commit once it is whole. */
export function createLogParser(onCommit: (commit: CommitChanges) => void): { write(chunk: Buffer): void; end(): void } {
  let carry: Buffer | undefined
  let fields: string[] = []
  let commit: CommitChanges | undefined
  let raw: string | undefined

  const token = (text: string) => {
    if (raw !== undefined) {
      // `:100644 100644 OLD NEW M`: the fourth word is the blob after the commit, all zeros when deleted.
      const blob = raw.split(' ')[3]!
      commit!.changed.push({ path: text, blob: /^0+$/.test(blob) ? undefined : blob })
      raw = undefined
    } else if (fields.length > 0 && fields.length <= FIELDS) {
      fields.push(text)
    } else if (text.startsWith('\x01')) {
      flush()
      fields = [text.slice(1)]
      return
    } else if (/^\n?:/.test(text)) raw = text
    if (fields.length === FIELDS + 1 && !commit) commit = toCommit(fields)
  }
  const flush = () => {
    if (commit) onCommit(commit)
    commit = undefined
    fields = []
  }
  return {
    write(chunk) {
      const bytes = carry ? Buffer.concat([carry, chunk]) : chunk
      const end = bytes.lastIndexOf(0)
      carry = bytes.subarray(end + 1)
      if (end < 0) return
      for (const text of bytes.toString('utf8', 0, end).split('\0')) token(text)
    },
    end: flush,
  }
}

function toCommit(fields: string[]): CommitChanges {
  const [id, parents, author, authorEmail, authored, committer, committerEmail, committed, subject] = fields as [
    string,
    ...string[],
  ]
  return {
    id,
    parents: parents ? parents.split(' ') : [],
    author: { name: author!, email: authorEmail!, time: Number(authored) * 1000 },
    committer: { name: committer!, email: committerEmail!, time: Number(committed) * 1000 },
    subject: subject!,
    changed: [],
  }
}
