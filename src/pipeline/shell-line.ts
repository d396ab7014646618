/** One word of shell that means itself: quoted where it has to be. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/** Joins words into one line of shell: words that mean more than themselves are quoted. One word alone is taken as a whole line. */
export function shellLine(words: string[]): string {
  return words.length === 1 ? words[0]! : words.map(shellWord).join(' ')
}
