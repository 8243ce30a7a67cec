/**
 * One frame of the protocol: number, name, arguments.
 *
 * @typedef {[number, string, Record<string, any>]} Frame
 */

/**
 * Write a frame as a line.
 *
 * @param {number} id
 * @param {string} name
 * @param {Record<string, any>} args
 * @returns {string}
 */
export function encodeFrame(id, name, args) {
  return `${JSON.stringify([id, name, args])}\r\n`;
}

/** Turns text, cut anywhere, into frames: each is a line of JSON that ends in CR LF. */
export class FrameDecoder {
  #rest = "";

  /**
   * Take in what arrived and return the frames that are complete by now.
   *
   * A line that is no frame is skipped: the server's mistake must not end the page's connection.
   *
   * @param {string} text
   * @returns {Frame[]}
   */
  feed(text) {
    const lines = (this.#rest + text).split("\r\n");
    this.#rest = lines.pop();
    return lines.map(parseLine).filter((frame) => frame !== null);
  }
}

/** @returns {Frame | null} */
function parseLine(line) {
  let frame;
  try {
    frame = JSON.parse(line);
  } catch {
    return null;
  }
  const wellFormed =
    Array.isArray(frame) &&
    frame.length === 3 &&
    typeof frame[1] === "string" &&
    typeof frame[2] === "object" &&
    frame[2] !== null;
  return wellFormed ? frame : null;
}
