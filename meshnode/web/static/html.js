/** The html tag of both pages: htm bound to preact. */
import htm from "htm";
import { h } from "preact";

export const html = htm.bind(h);
