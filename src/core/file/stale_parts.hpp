// The other name under which a file is written before it takes its own, and what is left of it when its writer was killed.
//
//   FILE.partPID-COUNT      PID and COUNT in decimal digits
#pragma once

#include <string>
#include <string_view>

namespace qjl {

// Open for writing, and locked for as long as it is, so that whoever counts processes in another way (a container, another machine)
// sees that somebody is there.
struct Part {
  std::string name;
  int file;  // the caller's to close, after the part has been renamed or removed; -1: errno says why there is none
};

// A part of its own, whoever else writes this file: of the process's number and the first count that no file has.
Part new_part(const std::string& path);

// Removes parts of this file whose writer is gone: nobody holds the part, and no process has its number or this one has. Names of any
// other form stay. What cannot be removed stays: the file that is about to be written does not depend on it.
void sweep_stale_parts(const std::string& path);
// The same of every file in a folder whose name ends so.
void sweep_folder(const std::string& folder, std::string_view suffix);

}  // namespace qjl
