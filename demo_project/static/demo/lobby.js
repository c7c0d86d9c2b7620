// A page with nothing of its own to read.

import { connect, showOpenStreams } from "./live.js";

connect({ streams: showOpenStreams });
