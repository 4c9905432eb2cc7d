# A room is a folder of src/ with a library of its own: meshseek_<name>. Its tests (*_test.cpp) lie beside the code.

# Headers that most files of a target include, read once: a full build takes a fifth less. Off while one looks for a missing #include.
option(MESHSEEK_PCH "Precompile the headers of the standard library, fmt and GoogleTest" ON)
function(meshseek_precompile target)
  get_target_property(sources ${target} SOURCES)
  list(LENGTH sources num_sources)
  if(MESHSEEK_PCH AND num_sources GREATER 8)
    target_precompile_headers(${target} PRIVATE <algorithm> <atomic> <cmath> <filesystem> <functional> <map> <memory> <mutex> <optional> <span>
                              <string> <thread> <variant> <vector> <fmt/format.h> ${ARGN})
  endif()
endfunction()

# A third less to compile, but more after a small change; names of one file must differ from those of the others. For presets that are built as a whole.
option(MESHSEEK_UNITY "Compile the files of a library eight at a time" OFF)

# meshseek_library(name SOURCES files... DEPENDS targets... PRIVATE libraries...)
function(meshseek_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS;PRIVATE" ${ARGN})
  list(FILTER arg_SOURCES EXCLUDE REGEX "_test\\.cpp$")
  if(arg_SOURCES)
    add_library(meshseek_${name} STATIC ${arg_SOURCES})
    target_include_directories(meshseek_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(meshseek_${name} PUBLIC fmt::fmt Threads::Threads ${arg_DEPENDS} PRIVATE ${arg_PRIVATE})
    set_target_properties(meshseek_${name} PROPERTIES UNITY_BUILD ${MESHSEEK_UNITY})
    meshseek_precompile(meshseek_${name})
  else()
    add_library(meshseek_${name} INTERFACE)
    target_include_directories(meshseek_${name} INTERFACE ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(meshseek_${name} INTERFACE fmt::fmt Threads::Threads ${arg_DEPENDS})
  endif()
  add_library(meshseek::${name} ALIAS meshseek_${name})
endfunction()

# meshseek_room(folder DEPENDS targets... PRIVATE libraries...): every .cpp of the folder that is not a test.
function(meshseek_room name)
  cmake_parse_arguments(arg "" "" "DEPENDS;PRIVATE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cpp)
  meshseek_library(${name} SOURCES ${sources} DEPENDS ${arg_DEPENDS} PRIVATE ${arg_PRIVATE})
endfunction()

# meshseek_test(name SOURCES files... DEPENDS targets... [ALONE]): one program; each TEST is a ctest test labelled with `name`, ALONE: run beside no other.
function(meshseek_test name)
  cmake_parse_arguments(arg "ALONE" "TIMEOUT" "SOURCES;DEPENDS" ${ARGN})
  if(NOT arg_SOURCES)
    return()
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 600)
  endif()
  add_executable(test_${name} ${arg_SOURCES})
  target_link_libraries(test_${name} PRIVATE ${arg_DEPENDS} GTest::gmock GTest::gtest_main)
  target_include_directories(test_${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
  target_compile_definitions(test_${name} PRIVATE MESHSEEK_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  # Compiling them takes longer than running them.
  target_compile_options(test_${name} PRIVATE $<$<CONFIG:Release>:-O1> $<$<CONFIG:RelWithDebInfo>:-O0>)
  meshseek_precompile(test_${name} <gmock/gmock.h>)
  gtest_discover_tests(test_${name} TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST NO_PRETTY_VALUES
                       PROPERTIES LABELS ${name} TIMEOUT ${arg_TIMEOUT} RUN_SERIAL ${arg_ALONE})
endfunction()
