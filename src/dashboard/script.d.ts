/** A module for browsers, with all that it imports, as one script. */
declare module '*?script' {
  const source: string
  export default source
}
