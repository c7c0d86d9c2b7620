// Sends a note without leaving the page. What comes is the element's affair.

import { sendInPlace } from "./forms.js";

sendInPlace(document.getElementById("send"), ({ recipient }) => `Sent to ${recipient}.`);
