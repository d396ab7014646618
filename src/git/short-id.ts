/** A commit's id as messages and tables show it: the first 8 of its 40 or 64 hex digits. */
export function shortId(commit: string): string {
  return commit.slice(0, 8)
}
